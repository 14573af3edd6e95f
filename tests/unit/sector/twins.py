"""Twins of a sector's Protocols in memory, and a small trail that gives real, signed permits."""

import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import httpx2
from pydantic import BaseModel

from schemas.events.access import Access, Opening, PermitAnswer, PermitRequest, Receipt
from schemas.events.consent import ConsentRef, ConsentVersion
from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.events.referral import StepBase, StepRefused
from schemas.trail.bytes import canonical, commitment, leaf, request_digest, stamped, tag, trail_words
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, signed_note
from schemas.trail.permits import PermitBody, Trust, signed_permit
from schemas.trail.tree import Tree, leaf_hash
from schemas.wire.body import Body
from services.runtime.admission import AgencyStanding
from services.runtime.alarms import Alarm
from services.sector.domain.consents import ConsentRecord
from services.sector.domain.profile import Profile
from services.sector.domain.requests import Reply
from services.sector.domain.views import FeedEvent, ReferralView, ThinEvent
from services.sector.handlers.work import (
    Case,
    DenialCount,
    DirectoryEntry,
    Place,
    ReportKind,
    ShownConsent,
    ViewKey,
    Work,
)
from tests.support.builders import SECTOR_OF, an_id
from tests.support.clock import StoppedClock

ORIGIN = "audit.example/harbour/2026"


class MemoryCases:
    """Cases and consents in dictionaries; every signature holds."""

    def __init__(self) -> None:
        self.kept: dict[str, Case] = {}
        self.subjects: dict[str, int] = {}
        self.versions: dict[ConsentRef, ConsentRecord] = {}
        self.withdrawn: list[tuple[ConsentRef, str]] = []

    async def add(self, case: Case) -> None:
        self.kept[case.id] = case

    async def find(self, case: str, agency: str) -> Case | None:
        found = self.kept.get(case)
        return found if found and found.agency == agency else None

    async def lock(self, case: str, agency: str) -> Case | None:
        return await self.find(case, agency)

    async def next_subject(self, case: str) -> int:
        self.subjects[case] = self.subjects.get(case, 0) + 1
        return self.subjects[case]

    async def add_consent(self, case: str, version: ConsentVersion, signature: bytes) -> None:
        named = ConsentRef(id=version.id, version=version.version)
        self.versions[named] = ConsentRecord(case, version, is_signed=bool(signature), is_withdrawn=False)

    async def consent(self, named: ConsentRef) -> ConsentRecord | None:
        return self.versions.get(named)

    async def consents(self, case: str) -> Sequence[ShownConsent]:
        of_case = [kept for kept in self.versions.values() if kept.case == case]
        return [(kept.version.model_dump(mode="json"), kept.is_withdrawn) for kept in of_case]

    async def withdraw(self, consent: ConsentRef, referral: str, at: datetime) -> bool:
        self.versions[consent] = replace(self.versions[consent], is_withdrawn=True)
        is_new = (consent, referral) not in self.withdrawn
        self.withdrawn += [(consent, referral)] if is_new else []
        return is_new


class MemoryViews:
    """Views and feeds in dictionaries."""

    def __init__(self) -> None:
        self.kept: dict[ViewKey, ReferralView] = {}
        self.feeds: dict[str, list[ThinEvent]] = {}

    async def lock(self, keys: Collection[ViewKey]) -> dict[ViewKey, ReferralView]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    async def find(self, referrals: Collection[str], agency: str) -> Sequence[ReferralView]:
        return [self.kept[referral, agency] for referral in referrals if (referral, agency) in self.kept]

    async def of_case(self, case: str) -> Sequence[str]:
        return [view.referral for view in self.kept.values() if view.case == case]

    async def save(self, views: Collection[ReferralView]) -> None:
        self.kept |= {(view.referral, view.agency): view for view in views}

    async def awaiting(self, agency: str, after: Place | None, limit: int) -> Sequence[Place]:
        waiting = [view for view in self.kept.values() if view.agency == agency and view.is_awaited]
        places = sorted(
            ((view.updated_at, view.referral) for view in waiting if view.updated_at), reverse=True
        )
        return [place for place in places if after is None or place < after][:limit]

    async def append(self, events: Sequence[tuple[str, ThinEvent]]) -> None:
        for agency, event in events:
            self.feeds.setdefault(agency, []).append(event)

    async def feed(self, agency: str, after: int, limit: int) -> Sequence[FeedEvent]:
        events = enumerate(self.feeds.get(agency, []), 1)
        kept = [FeedEvent(**event.model_dump(), position=position) for position, event in events]
        return kept[after : after + limit]

    async def feed_end(self, agency: str) -> int:
        return len(self.feeds.get(agency, []))


class MemoryRegister:
    """What is in force: at first the agencies of the builders."""

    def __init__(self, sectors: Mapping[str, str] = SECTOR_OF) -> None:
        self.sectors = dict(sectors)
        self.suspended: set[str] = set()
        self.protocols: dict[str, str] = {}
        self.kept: list[DirectoryEntry] = []

    async def keep(self, kind: type[Body], bodies: Collection[Any]) -> None:
        for one in bodies:
            if kind is AgencyCurrent:
                self.sectors[one.agency] = one.sector
                self.suspended |= {one.agency} if one.status == "suspended" else set()
            elif kind is ProtocolCurrent:
                self.protocols[one.hash] = one.document.id
            else:
                self.kept.append(DirectoryEntry(**one.model_dump(), agency=None, sector=None))

    async def standings(self, agencies: Collection[str]) -> Mapping[str, AgencyStanding]:
        return {
            agency: AgencyStanding(self.sectors[agency], agency not in self.suspended)
            for agency in agencies
            if agency in self.sectors
        }

    async def entries(self, after: str, limit: int) -> Sequence[DirectoryEntry]:
        return [entry for entry in self.kept if entry.service > after][:limit]

    async def protocol_with(self, document_hash: str) -> str | None:
        return self.protocols.get(document_hash)


class MemorySteps:
    """The steps that were sent."""

    def __init__(self) -> None:
        self.sent: list[StepBase] = []
        self.forged: list[StepRefused] = []

    async def send(self, step: StepBase, *, at: datetime) -> str:
        self.sent.append(step)
        return an_id("event")

    def log_forged(self, refused: StepRefused) -> None:
        self.forged.append(refused)


class MemoryReports:
    """The reports that were made, and the permits that were used."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.used: set[tuple[str, int]] = set()
        self.denials: dict[str, DenialCount] = {}

    async def is_first_denial(self, access: Access, at: datetime) -> bool:
        key = access.model_dump_json()
        before = self.denials.get(key)
        self.denials[key] = DenialCount(
            access, before.times + 1 if before else 0, before.since if before else at, at
        )
        return before is None

    async def end_denials(self, before: datetime) -> Sequence[DenialCount]:
        ended = [key for key, one in self.denials.items() if one.since <= before]
        return [self.denials.pop(key) for key in ended]

    async def add(self, reports: Sequence[BaseModel]) -> None:
        self.reports += reports

    async def waiting(self, kind: ReportKind, after: int) -> Sequence[tuple[int, str]]:
        return []

    async def settle(self, answered: Sequence[int], refused: Mapping[int, str]) -> None:
        pass

    async def alarms(self) -> Sequence[Alarm]:
        return []

    async def use(self, origin: str, index: int) -> bool:
        is_new = (origin, index) not in self.used
        self.used.add((origin, index))
        return is_new


class MemoryReplies:
    """Replies in a dictionary."""

    def __init__(self) -> None:
        self.given: dict[tuple[str, bytes], tuple[bytes, Reply]] = {}
        self._taken: dict[tuple[str, bytes], bytes] = {}

    async def claim(self, agency: str, key: bytes, request_digest: bytes) -> tuple[bytes, Reply] | None:
        self._taken[agency, key] = request_digest
        return self.given.get((agency, key))

    async def keep(self, agency: str, key: bytes, reply: Reply) -> None:
        self.given[agency, key] = (self._taken[agency, key], reply)


@dataclass
class MemorySector:
    """A whole sector without a database."""

    profile: Profile
    clock: StoppedClock = field(default_factory=StoppedClock)
    cases: MemoryCases = field(default_factory=MemoryCases)
    views: MemoryViews = field(default_factory=MemoryViews)
    register: MemoryRegister = field(default_factory=MemoryRegister)
    steps: MemorySteps = field(default_factory=MemorySteps)
    reports: MemoryReports = field(default_factory=MemoryReports)
    replies: MemoryReplies = field(default_factory=MemoryReplies)

    @property
    def work(self) -> Work:
        """What a handler gets."""
        return Work(
            self.profile,
            self.clock,
            lambda message: sha256(message).digest(),
            self.cases,
            self.views,
            self.register,
            self.steps,
            self.reports,
            self.replies,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Work]:
        """A transaction that keeps everything."""
        yield self.work


class TrailTwin:
    """The trail's permits over HTTP, with its real tree, notes and bytes; `spoil` may change each answer."""

    def __init__(self, audience: str) -> None:
        self.permit_key = Signer.from_seed(f"{ORIGIN}/permit", bytes(32))
        self.log_key = Signer.from_seed(ORIGIN, b"\x01" * 32)
        self.audience = audience
        self.asked: list[PermitRequest] = []
        self.keys: dict[str, bytes] = {}
        self.tree = Tree()
        self.unknown: set[str] = set()
        """Subjects that nobody has registered."""
        self.statuses: list[int] = []
        """Statuses to answer with before anything else."""
        self.spoil: Callable[[PermitAnswer], PermitAnswer] = lambda answer: answer

    @property
    def trust(self) -> Trust:
        """What a service pins about it."""
        return Trust(ORIGIN, (self.permit_key.public,), self.log_key.public)

    def client(self) -> httpx2.AsyncClient:
        """A client that reaches it."""
        return httpx2.AsyncClient(
            base_url="https://trail.example", transport=httpx2.MockTransport(self._answer)
        )

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        asked = PermitRequest.model_validate_json(request.content)
        self.asked.append(asked)
        status = self._status(asked)
        if status:
            return httpx2.Response(status, json=self._problem(status, asked))
        answer = self.spoil(self._permit(asked))
        return httpx2.Response(201, content=answer.model_dump_json())

    def _status(self, asked: PermitRequest) -> int | None:
        if any(item.subject in self.unknown for item in asked.items):
            return 409
        return self.statuses.pop(0) if self.statuses else None

    def _problem(self, status: int, asked: PermitRequest) -> dict[str, Any]:
        unknown = [at for at, item in enumerate(asked.items) if item.subject in self.unknown]
        errors = [{"pointer": f"/items/{at}/subject", "detail": "not_registered"} for at in unknown]
        return {"code": "subject_unknown" if status == 409 else "refused", "errors": errors}

    def _permit(self, asked: PermitRequest) -> PermitAnswer:
        leaves = [leaf(sha256(item.subject.encode()).digest()[:16], bytes(32)) for item in asked.items]
        opening, entry = self._entry(asked.access, leaves, lists=asked.access.act == "list")
        before = self.tree.size
        self.tree.extend([leaf_hash(one) for one in (*leaves, entry)])
        size, index = self.tree.size, self.tree.size - 1
        head = Checkpoint(ORIGIN, before, self.tree.root(before))
        body = PermitBody(
            origin=ORIGIN,
            audience=self.audience,
            request=request_digest(asked.plain(), self.audience),
            nonce=asked.nonce,
            leaf=leaf_hash(entry),
            index=index,
            count=1 + len(leaves),
            size=size,
            root=self.tree.root(),
            expires="2026-03-02T12:00:30.000Z",
        )
        receipt = Receipt(
            path=tuple(self.tree.inclusion_proof(index, size)),
            checkpoint=signed_note(checkpoint_text(head), self.log_key),
            consistency=tuple(self.tree.consistency_proof(before, size)),
        )
        return PermitAnswer(
            permit=signed_permit(body, self.permit_key), opening=opening, items=tuple(leaves), receipt=receipt
        )

    def _entry(self, access: Access, leaves: Sequence[bytes], *, lists: bool) -> tuple[Opening, bytes]:
        number = 1 if access.subject else None
        words = access.plain() | trail_words("intent", "before", service=self.audience, site=ORIGIN)
        detail = canonical(
            stamped(
                words, at="2026-03-02T12:00:00.000Z", number=number, item_leaves=leaves if lists else None
            )
        )
        key = self.keys.get(access.subject or "")
        mark = tag(key, 1) if key else bytes(16)
        opening = Opening(detail=detail, salt=bytes(32), tag=mark)
        return opening, leaf(mark, commitment(opening.salt, detail))


def changed(answer: PermitAnswer, **parts: Any) -> PermitAnswer:
    """An answer with another permit, opening or receipt part."""
    content = json.loads(answer.model_dump_json())
    for name, values in parts.items():
        content[name] |= values
    return PermitAnswer.model_validate_json(json.dumps(content))
