"""The operations of a vault, as a table; there is no other. `open` is the one that lets anything out."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from schemas.events.access import Access
from schemas.events.governance_keys import GovernanceKeys
from schemas.events.policy import PullFacts, show_packet
from schemas.ids import make
from schemas.trail.bytes import encoded, request_digest, subject_key
from schemas.trail.notes import Checkpoint, named_checkpoint
from schemas.trail.permits import (
    NONCE_AGE_SECONDS_MAX,
    WENT_BACK,
    BadPermit,
    PermitBody,
    Question,
    Trust,
    check_permit,
    check_signed,
)
from schemas.trail.tree import verify_inclusion
from schemas.wire.hpke import CannotOpen
from schemas.wire.packets import CASE_KEY, Release, seal_release
from schemas.wire.strict_json import MalformedJson, parse_any_text
from services.runtime.clock import Clock
from services.runtime.logs import log
from services.sector.vault import checks
from services.sector.vault.faults import VaultRefusal
from services.sector.vault.keys import Epochs, KeyProvider
from services.sector.vault.log_size import LogSize
from services.sector.vault.requests import (
    AskRequest,
    ClosedRequest,
    DataKeyWrap,
    NoWords,
    OpenRequest,
    RebuildRequest,
    SettleRequest,
    SubjectPlace,
    SubjectRequest,
    WrapsRequest,
)
from services.sector.vault.state import Ledger, OpenEntries

NONCES_MAX: Final = 4_096
VERDICTS_MAX: Final = 256
"""How many verdicts on public signed documents are kept, by their very text."""


@dataclass(frozen=True, slots=True)
class VaultTrust:
    """What a vault pins, out of band."""

    sector: str
    audience: str
    """Its sector's name in the trail."""
    trail: Trust
    governance: GovernanceKeys

    def roots(self) -> dict[str, str]:
        """A short mark of each pinned root, to be compared by eye between machines."""
        keys = [self.trail.log_key.public, *(key.public for key in self.trail.permit_keys)]
        named = {"log": keys[:1], "permit": keys[1:], "governance": sorted(self.governance.keys.values())}
        return {name: sha256(b"".join(found)).hexdigest()[:16] for name, found in named.items()}


@dataclass(frozen=True, slots=True)
class Ask:
    """A nonce that waits for its permit: the digest of its request, when, and the tree seen by then."""

    digest: bytes
    asked_at: float
    size_seen: int


class Nonces:
    """Nonces given out for permits; each serves one attempt, and a restart forgets them all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: dict[bytes, Ask] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, nonce: bytes, digest: bytes, size_seen: int) -> None:
        """Remember one, and forget those that no permit can answer any more."""
        now = self._clock()
        while self._asked and now - next(iter(self._asked.values())).asked_at > NONCE_AGE_SECONDS_MAX:
            del self._asked[next(iter(self._asked))]
        if len(self._asked) >= NONCES_MAX:
            raise VaultRefusal("vault_busy")
        self._asked[nonce] = Ask(digest, now, size_seen)

    def take(self, nonce: bytes, digest: bytes) -> Ask:
        """Use one, for the request that it was asked with."""
        ask = self._asked.pop(nonce, None)
        if ask is None or ask.digest != digest:
            raise VaultRefusal("nonce_unknown")
        return ask


class Vault:
    """A vault's state, and what each operation does with it; one at a time."""

    def __init__(
        self,
        folder: Path,
        trust: VaultTrust,
        signing_key: Ed25519PrivateKey,
        provider: KeyProvider,
        clock: Clock,
        *,
        settle_within: timedelta,
        is_locked: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trust = trust
        self._signing_key = signing_key
        self._clock = clock
        self._is_locked = is_locked
        self._monotonic = monotonic
        self._epochs = Epochs(folder, trust.sector, provider, secrets.token_bytes)
        self._ledger = Ledger(folder / "ledger", is_new=self._epochs.is_new)
        self._log_size = LogSize(folder / "log_size", trust.trail.origin, monotonic)
        if self._log_size.follows_another:
            # A new log was begun, by an operator's act that says so; what the old one owed it never proves.
            (folder / "unsettled").unlink(missing_ok=True)
        self._entries = OpenEntries(folder / "unsettled", settle_within, monotonic)
        self._nonces = Nonces(monotonic)
        self._size_seen = self._log_size.largest
        self._went_back = False
        self._counts = {"released": 0, "refused": 0}
        if self._epochs.is_new:
            # A crash before this line leaves an empty ledger and no epoch: the next start begins again.
            self._epochs.rotate(clock.now())
        keys = trust.governance
        self._read_admission = lru_cache(VERDICTS_MAX)(lambda text: checks.read_admission(text, keys))
        self._read_service = lru_cache(VERDICTS_MAX)(
            lambda text: checks.read_service(text, trust.sector, keys)
        )
        self._read_protocol = lru_cache(VERDICTS_MAX)(lambda text: checks.read_protocol(text, keys))
        self._read_record = lru_cache(VERDICTS_MAX)(checks.read_record)

    def answer(self, content: bytes) -> bytes:
        """The answer to one frame; whatever is wrong, expected or not, is a refusal and lets nothing out."""
        try:
            operation, request = read_request(content)
            return to_json({"ok": operation(self, request)})
        except (VaultRefusal, BadPermit) as refusal:
            code = refusal.code
        except CannotOpen:
            code = "cannot_open"
        except Exception as error:
            log().error("vault_failed", error_class=type(error).__name__)
            code = "unexpected"
        self._counts["refused"] += 1
        return to_json({"refused": {"code": code}})

    def why_closed(self) -> str | None:
        """Why nothing is asked or opened now, by a code; None while all is well."""
        return self._ledger.why_closed or ("unsettled" if self._entries.is_overdue else None)

    def status(self, _: NoWords) -> Mapping[str, Any]:
        """How it is: what it counts, and what it pins."""
        self._keep_epochs()
        return {
            "sector": self._trust.sector,
            "closed": self.why_closed() or (WENT_BACK if self._went_back else None),
            "is_locked": self._is_locked,
            "epoch": self._epochs.current.name,
            "epochs": {epoch.name: epoch.began for epoch in self._epochs.all},
            "ledger": self._ledger.newest,
            "unsettled": sorted(self._entries.waiting),
            "asked": len(self._nonces),
            **self._counts,
            "roots": self._trust.roots(),
        }

    def intake(self, _: NoWords) -> Mapping[str, Any]:
        """The signed intake keys of this epoch and the next."""
        keys = self._epochs.intake_keys(self._clock.now(), self._signing_key)
        return {"keys": [key.model_dump(mode="json") for key in keys]}

    def subject(self, request: SubjectRequest) -> Mapping[str, Any]:
        """A subject's key, for the trail; what was erased has none any more."""
        checks.check_keyset(request.subject.case.keyset, self._ledger)
        return {"key": encoded(self._subject_key(request.subject))}

    def ask(self, request: AskRequest) -> Mapping[str, Any]:
        """A nonce for the intent of one access."""
        self._check_open()
        nonce = secrets.token_bytes(16)
        digest = self._digest(request.access, nonce)
        self._nonces.add(nonce, digest, self._size_seen)
        return {"nonce": encoded(nonce)}

    def open(self, request: OpenRequest) -> Mapping[str, Any]:
        """Release field groups to an agency's key, once all that it rests on holds."""
        self._check_open()
        permit, now = self._check_permit(request), self._clock.now()
        checks.check_time(request.asked_at, now)
        access, rows = request.request.access, request.groups
        record = self._read_record(request.key_record)
        agreement = self._read_protocol(request.protocol)
        checks.check_detail(request, record, agreement)
        admission = self._read_admission(request.recipient)
        public = checks.check_recipient(record, admission, now)
        service = self._read_service(request.service)
        named_fields = checks.check_basis(request, service, self._trust.governance, now)
        checks.check_keyset(request.subject.case.keyset, self._ledger)
        checks.check_consent_open(access, self._ledger)
        checks.check_live(agreement, rows[0].agency, access, now)
        groups = tuple(row.wrap.group for row in rows)
        facts = PullFacts(admission.sector, groups, str(access.purpose), str(access.basis))
        decision = checks.check_policy(facts, agreement)
        contents = {
            row.wrap.group: checks.open_group(row, self._trust.sector, self._epochs.unwrap(row.wrap))
            for row in rows
        }
        shown = show_packet(facts, decision, contents, named_fields, agreement.current.document, at=now)
        self._entries.add(permit.index, permit.leaf)  # a crash from here on: its publication is still owed
        words = {
            "release": make("release", secrets.token_bytes(16)),
            "referral": access.referral,
            "owner": self._trust.sector,
            "recipient": record.holder,
            "key": record.key,
            "suite": record.suite,
            "purpose": access.purpose,
            "leaf": permit.leaf,
        }
        sealed = {row.wrap.group: (row.wrap.version, to_json(shown[row.wrap.group])) for row in rows}
        release: Release = seal_release(words, public, sealed, self._signing_key)
        self._counts["released"] += 1
        return {"release": release.model_dump(mode="json")}

    def settle(self, request: SettleRequest) -> Mapping[str, Any]:
        """Forget the entries that a signed checkpoint holds; the answer names those still owed."""
        published = request.published
        checkpoint = check_signed(published.checkpoint, self._trust.trail)
        waiting = self._entries.waiting
        proved = [one for one in published.proofs if one.index in waiting]
        for one in proved:
            leaf = waiting[one.index]
            if not verify_inclusion(leaf, one.index, checkpoint.size, one.path, checkpoint.root):
                raise VaultRefusal("not_in_tree")
        self._entries.settle([one.index for one in proved])
        self._see(checkpoint.size, checkpoint)
        return {"unsettled": sorted(self._entries.waiting)}

    def adopt(self, request: WrapsRequest) -> Mapping[str, Any]:
        """The same data keys, wrapped with the current epoch's key; null for what is erased or opens not."""
        return {"rows": [self._adopted(row) for row in request.rows]}

    def closed(self, request: ClosedRequest) -> Mapping[str, Any]:
        """Take rows of the ledger; the answer has those that the database lacks."""
        missing = self._ledger.close(request.rows, request.newest)
        return {
            "newest": self._ledger.newest,
            "closed": self.why_closed(),
            "missing": [row.model_dump(mode="json") for row in missing],
        }

    def rotate(self, _: NoWords) -> Mapping[str, Any]:
        """Begin a new epoch before the week is over."""
        self._epochs.rotate(self._clock.now())
        return {"epoch": self._epochs.current.name}

    def rebuild(self, request: RebuildRequest) -> Mapping[str, Any]:
        """Take the ledger anew from the trail, after it was lost here."""
        head = check_signed(request.checkpoint, self._trust.trail)
        rows = [checks.read_closure(entry, self._trust.audience, head) for entry in request.entries]
        return {"newest": self._ledger.rebuild(rows, request.newest), "closed": self.why_closed()}

    def _check_open(self) -> None:
        self._keep_epochs()
        if code := self.why_closed():
            raise VaultRefusal(code)

    def _keep_epochs(self) -> None:
        if self._epochs.keep(self._clock.now()):
            log().info("vault_epoch_began", state=self._epochs.current.name)

    def _check_permit(self, request: OpenRequest) -> PermitBody:
        """V1-V7, with the subject's key as the owner has it; the nonce is used up whatever comes of it."""
        asked = request.request
        ask = self._nonces.take(asked.nonce, self._digest(asked.access, asked.nonce))
        question = Question(
            audience=self._trust.audience,
            request=asked.plain(),
            asked_at=ask.asked_at,
            size_seen=ask.size_seen,
            tag_key=self._subject_key(request.subject),
        )
        answer = request.answer
        try:
            permit = check_permit(answer.model_dump(), question, self._trust.trail, now=self._monotonic())
        except BadPermit as bad:
            self._went_back |= bad.code == WENT_BACK
            raise
        self._went_back = False
        self._see(permit.size, named_checkpoint(answer.receipt.checkpoint))
        return permit

    def _see(self, size: int, signed: Checkpoint) -> None:
        self._size_seen = max(self._size_seen, size)
        self._log_size.see(signed.size)

    def _digest(self, access: Access, nonce: bytes) -> bytes:
        words = {"access": access.plain(), "items": [], "nonce": encoded(nonce)}
        return request_digest(words, self._trust.audience)

    def _subject_key(self, subject: SubjectPlace) -> bytes:
        if subject.case.group != CASE_KEY:
            raise CannotOpen
        return subject_key(self._epochs.unwrap(subject.case), subject.number)

    def _adopted(self, row: DataKeyWrap) -> Mapping[str, Any] | None:
        if row.keyset in self._ledger:
            return None
        try:
            return self._epochs.adopt(row).model_dump(mode="json")
        except CannotOpen:
            return None


Operation = Callable[[Vault, Any], Mapping[str, Any]]
OPERATIONS: Final[Mapping[str, tuple[type[BaseModel], Operation]]] = {
    "status": (NoWords, Vault.status),
    "intake": (NoWords, Vault.intake),
    "subject": (SubjectRequest, Vault.subject),
    "ask": (AskRequest, Vault.ask),
    "open": (OpenRequest, Vault.open),
    "settle": (SettleRequest, Vault.settle),
    "adopt": (WrapsRequest, Vault.adopt),
    "rewrap": (WrapsRequest, Vault.adopt),
    "closed": (ClosedRequest, Vault.closed),
    "rotate": (NoWords, Vault.rotate),
    "rebuild": (RebuildRequest, Vault.rebuild),
}
"""Everything that a vault does."""


def read_request(content: bytes) -> tuple[Operation, BaseModel]:
    """The operation that a frame asks for, and its words."""
    try:
        words = parse_any_text(content)  # each field says what text it takes
        model, operation = OPERATIONS[words.pop("op")]
        return operation, model.model_validate(words)
    except (MalformedJson, ValidationError, AttributeError, KeyError, TypeError):
        raise VaultRefusal("malformed") from None
