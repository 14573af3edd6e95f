"""What the handlers may touch, opened for one transaction; what a method did is durable at its commit."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from schemas.events.access import Access, ProtocolVersion
from schemas.events.break_glass import BreakGlassApproval
from schemas.events.consent import Closure, ConsentRef, ConsentVersion
from schemas.events.facts import FactBase
from schemas.events.governance_keys import GovernanceBody, GovernanceKeys
from schemas.events.life_cycle import PartyName
from schemas.wire.body import Body
from schemas.wire.key_records import KeyRecord
from schemas.wire.packets import IntakeKey
from services.runtime.admission import AgencyStanding
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.subscription import OutboxEvent
from services.sector.domain.closures import Task
from services.sector.domain.consents import ConsentRecord
from services.sector.domain.directory import DirectoryEntry, LiveProtocol, ServiceSearch
from services.sector.domain.profile import Profile
from services.sector.domain.requests import Reply
from services.sector.domain.views import FeedEvent, ReferralView, ThinEvent
from services.sector.vault.requests import DataKeyWrap, StoredGroup

ViewKey = tuple[str, str]
"""Referral and agency."""
Place = tuple[datetime, str]
"""Where something stands in a list: when it last changed or was opened, and its id."""
ShownConsent = tuple[Mapping[str, Any], bool]
"""A consent version as its document, its signature unchecked, and whether she took it back."""
Denials = tuple[Access, datetime, datetime]
"""How many `times` one actor was denied behind the first, and when the first and last were."""
ReportKind = Literal["subjects", "events", "outcomes", "erasures"]


@dataclass(frozen=True, slots=True)
class Case:
    """One agency's file on one survivor; `subject` is its alias in the trail, used nowhere else.

    `packet` is what she told the agency, `keyset` all keys of the case.
    """

    id: str
    agency: str
    reference: str = field(repr=False)
    subject: str
    packet: str
    keyset: str
    opened_at: datetime


class Cases(Protocol):
    """Cases and her consents."""

    async def add(self, case: Case) -> None:
        """Keep a new case."""

    async def find(self, case: str, agency: str) -> Case:
        """The agency's own case; raises NotFound (unknown, or another agency's) or CaseErased."""

    async def lock(self, case: str, agency: str, *, though_erased: bool = False) -> Case:
        """The same, and nobody else may withdraw or offer on it until the commit; waits for those who do."""

    async def share(self, case: str, agency: str) -> Case:
        """The same, and until the commit whoever locks the case waits: what a release holds while it runs."""

    async def listed(self, agency: str, after: Place | None, limit: int) -> Sequence[Case]:
        """The agency's cases, newest first, behind a place in that list."""

    async def next_subject(self, case: str) -> int:
        """The number of the case's next referral in the trail; the case is locked."""

    async def erase(self, case: Case) -> None:
        """Delete what she told, its keys and the agency's number; the ledger names its keyset."""

    async def add_consent(self, case: str, version: ConsentVersion) -> tuple[bytes, bool]:
        """Sign a version with this service's key and keep it, never to be changed; gives the signature, and
        whether it is new."""

    async def consent(self, named: ConsentRef) -> ConsentRecord | None:
        """A version with its signature checked and the ledger looked up, or None."""

    async def ruling_consent(self, consent: str) -> ConsentRecord | None:
        """The newest version of a consent: it alone can cover a release, unless it is closed."""

    async def consents(self, case: str) -> Sequence[ShownConsent]:
        """All versions of a case, in the order they were recorded."""

    async def withdraw(self, consent: ConsentRef, referral: str, at: datetime) -> bool:
        """Note that she took this version back, for this referral; False where that was noted before."""


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """Who was given which group of a case, up to which version, and when last."""

    referral: str
    agency: str
    group: str
    version: int
    released_at: datetime


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """Which versions of which groups of a case an agency is given, by which release."""

    release: str
    case: str
    referral: str
    agency: str
    versions: Mapping[str, int]
    at: datetime


class Packets(Protocol):
    """What she told an agency, sealed: rows that this service writes and cannot read."""

    async def intake(self, at: datetime) -> IntakeKey:
        """The key of the vault that writers seal to; raises IntakeMissing before the vault has given one."""

    async def keep_intake(self, keys: Sequence[IntakeKey]) -> None:
        """Keep keys that the vault gave."""

    async def add(self, keys: Sequence[DataKeyWrap]) -> None:
        """Keep new wrapped keys."""

    async def write(self, groups: Sequence[StoredGroup], at: datetime) -> None:
        """Keep new versions of groups, and the keys under which they are sealed."""

    async def versions(self, packet: str) -> Mapping[str, int]:
        """Group → its newest version; nothing before the first was written."""

    async def newest(self, packet: str, groups: Collection[str]) -> Sequence[StoredGroup]:
        """The newest version of each of these groups."""

    async def case_wraps(self, keysets: Collection[str]) -> Mapping[str, DataKeyWrap]:
        """Keyset → the wrapped key of its case; an erased one has none."""

    async def unadopted(self, limit: int) -> Sequence[DataKeyWrap]:
        """Keys that the vault has not adopted yet."""

    async def behind(self, epoch: str, after: str, limit: int) -> Sequence[DataKeyWrap]:
        """Keys of other epochs, in the order of their ids from the next one on."""

    async def adopt(self, keys: Mapping[bytes, DataKeyWrap]) -> None:
        """Replace wraps by those that the vault made of them; one that is another by now stays."""

    async def record_release(self, record: ReleaseRecord) -> None:
        """Note what an agency is being given."""

    async def holders(self, case: str) -> Sequence[HeldGroup]:
        """Who was given what of a case."""


class Closures(Protocol):
    """The ledger of what no release may rest on; rows of it are committed before what follows from them."""

    async def add(self, kind: str, closed: str, task: Task, at: datetime) -> Closure | None:
        """Close a keyset or a consent version under the next number; None where that was done before."""

    async def task(self, closed: str) -> Task | None:
        """What is left to do about it; None where all is done or nothing was closed."""

    async def closed_among(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the ids that are closed, as of now: ask in the transaction that must not be overtaken."""

    async def complete(self, closed: str, at: datetime) -> bool:
        """Note that nothing is left to do; False where that was noted before."""

    async def undone(self, before: datetime, limit: int) -> Sequence[tuple[str, Task]]:
        """What was closed before then and is not done, the oldest first."""

    async def after(self, n: int, limit: int) -> Sequence[Closure]:
        """Rows behind a number, in order."""

    async def last(self) -> int:
        """The highest number; 0 before the first."""

    async def feed_alone(self) -> None:
        """Wait until nobody else feeds the vault, until commit: who counts rows before another has fed newer
        ones would look like an older copy."""

    async def restore(self, rows: Sequence[Closure], at: datetime) -> None:
        """Take rows that an older copy of this database lacks; fails where other rows have their numbers."""


class Views(Protocol):
    """Referrals as the agencies of this sector see them, and their feeds."""

    async def lock(self, keys: Collection[ViewKey]) -> dict[ViewKey, ReferralView]:
        """Those of the views that exist, locked in one order; waits for others who hold them."""

    async def find(self, referrals: Collection[str], agency: str) -> Sequence[ReferralView]:
        """The agency's views of these referrals, newest first."""

    async def resting_on(self, case: str, consent: str | None = None) -> Sequence[str]:
        """All referrals of a case, or those that rest on one of its consents."""

    async def blank(self, case: str) -> None:
        """Forget what the owner's views of a case say."""

    async def of_case(self, case: str) -> Sequence[str]:
        """The newest referrals of a case, `CASE_REFERRALS_MAX` at most."""

    async def owned(self, referral: str) -> ReferralView | None:
        """The owner's view of a referral, where the owner is of this sector."""

    async def save(self, views: Collection[ReferralView]) -> None:
        """Keep views as they are now."""

    async def awaiting(self, agency: str, after: Place | None, limit: int) -> Sequence[Place]:
        """What awaits the agency, newest first, behind a place in that list; ids and times alone."""

    async def listed(
        self, agency: str, role: PartyName, state: str | None, after: Place | None, limit: int
    ) -> Sequence[Place]:
        """The same of all that the agency owns or receives, in one state or in any."""

    async def append(self, events: Sequence[tuple[str, ThinEvent]]) -> None:
        """Add events to the feeds of the agencies beside them, each at its agency's next position."""

    async def feed(self, agency: str, after: int, limit: int) -> Sequence[FeedEvent] | None:
        """The agency's feed behind a position, in order; None where it does not reach that position."""


class Register(Protocol):
    """Agencies, services, protocols and directory entries that are in force."""

    async def keep(self, kind: type[Body], bodies: Collection[Body]) -> None:
        """Keep bodies of one kind, each key once: an agency or a service unless a newer version is known, a
        protocol under its hash beside older ones (live referrals rest on them), an entry as it stands now."""

    async def last(self, kind: type[GovernanceBody], names: Collection[str]) -> Mapping[str, Any]:
        """The last good document of each agency, service or protocol that is known."""

    async def standings(self, agencies: Collection[str]) -> Mapping[str, AgencyStanding]:
        """Agency → how it stands, for those that governance has named."""

    async def entries(self, after: str, limit: int) -> Sequence[DirectoryEntry]:
        """Directory entries behind a service id, by service id."""

    async def documents(self, recipient: str, protocol: str, service: str) -> Mapping[str, str] | None:
        """What governance signed, as JSON: the admission of the `recipient`, the `protocol` of that hash, the
        keys of the `service`; None where one is missing."""

    async def candidates(self, search: ServiceSearch, asker: str) -> Sequence[DirectoryEntry]:
        """Entries of other, active agencies for what a search needs, where; the last confirmed first,
        `CANDIDATES_MAX` at most."""

    async def live_protocols(self, agency: str, at: datetime) -> Sequence[LiveProtocol]:
        """The protocols in force that an agency is a party to, each in its newest version that has begun."""

    async def protocol_with(self, document_hash: str) -> ProtocolVersion | None:
        """The protocol with this hash, or None."""


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A packet key as it stands at its agency's sector."""

    record: KeyRecord
    is_revoked: bool


class KeyRecords(Protocol):
    """The packet keys that agencies registered."""

    async def lock(self, agency: str) -> None:
        """Let nobody else add a key of this agency until the commit; waits for those who do."""

    async def registered(self, key: str) -> RegisteredKey | None:
        """The key of this id, whoever's it is."""

    async def of_agency(self, agency: str, at: datetime) -> Sequence[RegisteredKey]:
        """An agency's keys whose time is not over, the newest first."""

    async def add(self, record: KeyRecord) -> None:
        """Keep a new record."""

    async def revoke(self, key: str) -> None:
        """Let nothing be sealed to this key any more, for good."""


class Reports(Protocol):
    """What the trail is told without a permit, kept until it has answered; and which permits are used up."""

    async def add(self, reports: Sequence[BaseModel]) -> None:
        """Put subjects, events or outcomes of `schemas.events.access` into the trail's outbox."""

    async def tell_anew(self, log: str) -> None:
        """The same of all subjects, the ledger and what was erased: this log follows one that lost some."""

    async def waiting(
        self, after: Mapping[ReportKind, int]
    ) -> Mapping[ReportKind, Sequence[tuple[int, str]]]:
        """Place and JSON of each kind's oldest reports behind a place, as many as one request takes."""

    async def settle(self, answered: Sequence[int], refused: Mapping[int, str]) -> None:
        """Drop what the trail has; keep what it refused for good, with its code."""

    async def is_full(self, rows_max: int) -> bool:
        """Whether so much is kept."""

    async def alarms(self) -> Sequence[Alarm]:
        """What the trail refused for good, by code, until somebody deletes it."""

    async def use(self, origin: str, index: int) -> bool:
        """Use a permit up; False if it was used before (V8)."""

    async def is_first_denial(self, access: Access, at: datetime) -> bool:
        """Count a denial; whether it is the first of its actor and reason in its time."""

    async def end_denials(self, before: datetime) -> Sequence[Denials]:
        """Take out what was counted since before then, as much as one report takes."""


class Replies(Protocol):
    """Replies already given, by agency and idempotency key."""

    async def claim(self, agency: str, key: bytes, request_digest: bytes) -> tuple[bytes, Reply] | None:
        """Take the key for this transaction, or give the request that has it and its reply; waits for one
        under way."""

    async def given(self, agency: str, key: bytes) -> tuple[bytes, Reply] | None:
        """The request that has the key and its reply, if it was given; waits for nothing."""

    async def keep(self, agency: str, key: bytes, reply: Reply) -> None:
        """Keep the reply of a key that this transaction took."""


@dataclass(frozen=True, slots=True)
class Work:
    """One transaction of a sector service."""

    profile: Profile
    clock: Clock
    keys: GovernanceKeys
    """Two of them have signed whatever the register keeps of governance."""
    cases: Cases
    packets: Packets
    closures: Closures
    views: Views
    register: Register
    key_records: KeyRecords
    reports: Reports
    replies: Replies
    send: Callable[[Sequence[OutboxEvent]], Awaitable[None]]
    """Puts steps to the arbiter into the outbox."""
    sign: Callable[[BreakGlassApproval], BreakGlassApproval]
    """Signs with this service's key, the one that consents are signed with."""
    log_stray: Callable[[str, Sequence[FactBase]], None]
    """Logs, in one line, that steps went out from here which no agency of this sector has asked for."""


OpenWork = Callable[[], AbstractAsyncContextManager[Work]]
