"""The access trail: what is asked, what is answered, and which fields each kind of access must have.

A service that shows something of a person asks the trail first (`PermitRequest`), gets a `PermitAnswer`, and
shows nothing unless `check_permit` (`schemas.trail.permits`) returns. What is hashed: `schemas.trail.bytes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schemas.events.consent import Closure, ConsentRef
from schemas.ids import AgencyId, ProtocolId, ReaderKeyId, ReferralId
from schemas.trail.permits import MOMENT
from schemas.wire.exact_bytes import Bytes, Bytes16, Bytes32, Bytes52, Bytes64


@dataclass(frozen=True, slots=True)
class Act:
    """One way of looking at or deciding about a person's record, and the fields its entry must have."""

    kind: Literal["intent", "event"]
    needs: frozenset[str]
    lists: bool = False
    party: Literal["sector", "operator", "any"] = "sector"
    """Who alone may ask for it or report it: a sector, which owns subjects, the operator's command, or any
    of this installation's names."""


_WHO: Final = frozenset({"actor", "agency"})
_WHY: Final = frozenset({"purpose", "basis", "explain"})
_WHAT: Final = frozenset({"referral", "packet", "groups", "protocol", "recipient"})

ACTS: Final[Mapping[str, Act]] = {
    "disclosure": Act("intent", _WHO | _WHY | _WHAT | {"subject"}),
    "view": Act("intent", _WHO | _WHY | {"subject"}),
    "list": Act("intent", _WHO | _WHY, lists=True),
    "export": Act("intent", _WHO | _WHY | _WHAT, lists=True),
    "trail_read": Act("intent", _WHY | {"actor"}, lists=True, party="operator"),
    "break_glass": Act("intent", _WHO | _WHY | _WHAT | {"subject", "reason", "approver"}),
    "approval": Act("event", _WHO | {"referral", "reason"}),
    "denial": Act("event", frozenset({"actor", "reason"})),
    "consent": Act("event", _WHO | {"subject", "consent"}),
    "closure": Act("event", frozenset({"actor", "closure"})),
    "operator": Act("event", frozenset({"actor", "verb", "counts"}), party="any"),
}

ITEMS_MAX: Final = 500
REPORTS_MAX: Final = 500
DETAIL_BYTES_MAX: Final = 4096
PROOF_HASHES_MAX: Final = 63

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Token = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
Moment = Annotated[str, StringConstraints(pattern=MOMENT)]
SubjectId = Annotated[str, StringConstraints(pattern=r"^(ref|sub)_[a-z2-7]{26}$")]
Origin = Annotated[str, StringConstraints(pattern=r"^[!-*,-~]{1,128}$")]
Whole = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
Groups = Annotated[dict[Code, Token], Field(min_length=1, max_length=16)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def plain(self) -> dict[str, Any]:
        """As JSON values, without what is absent: the form that is hashed."""
        return self.model_dump(mode="json", exclude_none=True)


class Actor(_Shape):
    """Who looks: a member of staff by pseudonym, through a system; a job is its system alone."""

    id: Token | None = None
    role: Code | None = None
    auth: Code | None = None
    client: Token
    net: Token | None = None


class ProtocolVersion(_Shape):
    """The information-sharing protocol in force, by the hash of its text."""

    id: ProtocolId
    hash: Bytes32


class Recipient(_Shape):
    """The agency that gets the groups, and the key they are sealed to."""

    agency: AgencyId
    key: ReaderKeyId


class Approver(_Shape):
    """Who of another agency agreed to a look without her consent, by pseudonym."""

    agency: AgencyId
    id: Token


class Explanation(_Shape):
    """Why this look is expected: a code, and what it points to."""

    code: Code
    ref: Token | None = None


class Access(_Shape):
    """What somebody is about to see or has done; which fields an act needs stands in `ACTS`."""

    act: Code
    purpose: Code | None = None
    basis: Code | None = None
    actor: Actor | None = None
    agency: AgencyId | None = None
    subject: SubjectId | None = None
    referral: ReferralId | None = None
    packet: Token | None = None
    groups: Groups | None = None
    consent: ConsentRef | None = None
    """The version of her consent that covers the look."""
    protocol: ProtocolVersion | None = None
    recipient: Recipient | None = None
    explain: Annotated[tuple[Explanation, ...], Field(max_length=16)] | None = None
    approver: Approver | None = None
    reason: Code | None = None
    times: Whole | None = None
    closure: Closure | None = None
    """The row of the caller's ledger that this entry keeps; without a subject: no erasure may take it."""
    verb: Code | None = None
    """What an operator had a service do, whose own record of it is named by `rid` and says why."""
    counts: Annotated[dict[Code, Whole], Field(max_length=16)] | None = None
    """How much of what that was about."""
    plan: Token | None = None
    """The operators' plan that it carried out."""
    second: Token | None = None
    """Who else agreed to that, by pseudonym."""
    rid: Token | None = None


class Item(_Shape):
    """One row of a list about to be shown."""

    subject: SubjectId
    referral: ReferralId | None = None


class PermitRequest(_Shape):
    """`POST /v1/permits`: the intent, before anything is shown."""

    idem: Bytes16
    nonce: Bytes16
    access: Access
    items: Annotated[tuple[Item, ...], Field(max_length=ITEMS_MAX)] = ()


class SignedPermit(_Shape):
    """The permit's exact bytes, and the signature over them."""

    body: Bytes
    key: Token
    sig: Bytes64


class Opening(_Shape):
    """What opens the intent's leaf: its detail, salt and tag."""

    detail: Bytes
    salt: Bytes32
    tag: Bytes16


class Receipt(_Shape):
    """Where the leaf stands: path to the permit's head, and that head's tie to a signed checkpoint."""

    path: Annotated[tuple[Bytes32, ...], Field(max_length=PROOF_HASHES_MAX)]
    checkpoint: str
    consistency: Annotated[tuple[Bytes32, ...], Field(max_length=PROOF_HASHES_MAX)]


class PermitAnswer(_Shape):
    """The trail's answer to a permit request."""

    permit: SignedPermit
    opening: Opening
    items: tuple[Bytes52, ...]
    receipt: Receipt


class ProofRequest(_Shape):
    """`POST /v1/proofs`: entries that should have been published by now."""

    indexes: Annotated[tuple[Whole, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class EntryProof(_Shape):
    """How one entry leads to a published head."""

    index: Whole
    path: Annotated[tuple[Bytes32, ...], Field(max_length=PROOF_HASHES_MAX)]


class PublishedProofs(_Shape):
    """The newest signed head, and the entries that it covers."""

    checkpoint: str
    proofs: tuple[EntryProof, ...]


class ToldClosure(_Shape):
    """An entry that tells of a row of its caller's ledger, opened."""

    index: Whole
    opening: Opening


class ToldClosures(_Shape):
    """`GET /v1/closures`: what the caller told of its ledger; `after` is where the next page begins."""

    closures: tuple[ToldClosure, ...]
    after: Whole | None = None


class OutcomeReport(_Shape):
    """What came of one intent."""

    idem: Bytes16
    origin: Origin
    intent: Whole
    result: Literal["released", "refused", "failed"]
    reason: Code | None = None
    decision: Token | None = None
    groups: Groups | None = None
    bytes: Whole | None = None
    digest: Bytes32 | None = None
    happened: Moment


class OutcomeReports(_Shape):
    """`POST /v1/outcomes`."""

    outcomes: Annotated[tuple[OutcomeReport, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class EventReport(_Shape):
    """Something that was done, and needed no permit: recorded with the act, or late."""

    idem: Bytes16
    mode: Literal["with", "late"]
    happened: Moment
    until: Moment | None = None
    """When the last of several happened, where `access.times` counts them."""
    access: Access


class EventReports(_Shape):
    """`POST /v1/events`."""

    events: Annotated[tuple[EventReport, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class SubjectKey(_Shape):
    """A subject and the key of its tags, registered by its owner."""

    id: SubjectId
    key: Bytes32 = Field(repr=False)
    retention: Code


class SubjectKeys(_Shape):
    """`POST /v1/subjects`."""

    subjects: Annotated[tuple[SubjectKey, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class SubjectErasure(_Shape):
    """A subject whose entries nobody shall be able to read any more, by its owner."""

    idem: Bytes16
    subject: SubjectId
    reason: Code


class SubjectErasures(_Shape):
    """`POST /v1/erasures`."""

    erasures: Annotated[tuple[SubjectErasure, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class EntryPlace(_Shape):
    """Where a reported entry stands."""

    origin: Origin
    index: Whole


def missing_field(access: Access, kind: Literal["intent", "event"]) -> str | None:
    """JSON pointer, within the access, of the first field that is missing or wrong; None if complete."""
    act = ACTS.get(access.act)
    if act is None or act.kind != kind:
        return "/act"
    needs = act.needs | ({"consent"} if access.basis == "consent" else set())
    return next((f"/{name}" for name in sorted(needs) if getattr(access, name) is None), None)
