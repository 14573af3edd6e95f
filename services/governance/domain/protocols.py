"""Protocols: drafted, adopted by a decision, signed by two of three holders, in force after a delay."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final

from pydantic import ConfigDict, Field

from schemas.events.governance import (
    DocumentHash,
    GovernanceSignature,
    ProtocolCurrent,
    ProtocolDocument,
    document_hash,
)
from schemas.events.governance_keys import NEEDED, SignatureFault
from schemas.events.partnership import (
    ProtocolAdopted,
    ProtocolExpired,
    ProtocolExpiring,
    ProtocolInForce,
    ProtocolReplaced,
    ProtocolSigned,
)
from schemas.ids import DecisionId
from schemas.topics import SECTORS
from schemas.wire.body import Body, Instant
from services.governance.domain.life_cycle import (
    CLOCK,
    DECISION,
    NOTHING,
    ActBody,
    ActRow,
    Adoption,
    Change,
    Content,
    GovernanceRecord,
    GovernanceRegister,
    LifeCycle,
    Nothing,
    Scene,
    condition,
    drop_row,
)
from services.governance.domain.partners import Partner
from services.governance.domain.publications import (
    OF_SIGNATURES,
    PROTOCOL_RULES,
    IdTaken,
    OtherId,
    VersionNotNext,
    check_protocol,
    signature_refusal,
)
from services.runtime.errors import define_refusal

EXPIRES_WITHIN: Final = timedelta(days=14)
"""How long before its end a protocol in force warns."""
EVER: Final = frozenset({"in_force", "expiring", "expired", "replaced"})
LIVE: Final = ("in_force", "expiring")

_define: Final = partial(define_refusal, __name__)

SignedByThisKey: Final = _define("signed_by_this_key", "This key has signed it; another holder must.")
OverBefore: Final = _define("over_before", "The protocol must end later than now.", 422)


class ProtocolDraft(ActBody):
    """A version of a protocol as a secretariat drafts it."""

    document: ProtocolDocument


class HolderSignature(GovernanceSignature):
    """One holder's signature, as it is handed in."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SharingVersion(ProtocolDraft, Content):
    """One version of a protocol: its document, who signed it, and since when it counts."""

    kind: ClassVar[str] = "protocol"

    hash: DocumentHash
    signatures: tuple[GovernanceSignature, ...] = Field(default=(), max_length=3)
    decision: DecisionId | None = None
    in_force_at: Instant | None = None

    @property
    def signed(self) -> ProtocolCurrent:
        """What holders sign, and what is published."""
        return ProtocolCurrent(document=self.document, hash=self.hash, signatures=self.signatures)


def versions(register: GovernanceRegister, protocol: str) -> list[GovernanceRecord[SharingVersion]]:
    """All versions of a protocol, the oldest first."""
    found = [one for one in register.all(SharingVersion) if one.content.document.id == protocol]
    return sorted(found, key=lambda one: one.content.document.version)


def was_in_force(record: GovernanceRecord[SharingVersion]) -> bool:
    """Whether a version ever was in force, or a newer one was before it could be; a draft expires too."""
    its = record.content
    begins = its.in_force_at
    return record.state in EVER and begins is not None and begins < its.document.valid_until


@condition(OtherId, IdTaken, VersionNotNext, OverBefore, *PROTOCOL_RULES)
def _is_next(scene: Scene, _: None, body: ProtocolDraft) -> None:
    document, register = body.document, scene.register
    if scene.act.id != f"{document.id}.{document.version}":
        raise OtherId
    if document.id in SECTORS or register.get(Partner.kind, document.id):
        raise IdTaken
    if document.version != len(versions(register, document.id)) + 1:
        raise VersionNotNext
    if document.valid_until <= scene.at:
        raise OverBefore
    takes_part = {
        one.id: one.content.sector
        for one in register.all(Partner)
        if one.state == "admitted" and one.content.sector
    }
    check_protocol(document, takes_part)


@condition(SignedByThisKey, *OF_SIGNATURES)
def _is_a_holders(scene: Scene, content: SharingVersion, body: HolderSignature) -> None:
    if any(one.kid == body.kid for one in content.signatures):
        raise SignedByThisKey
    alone = content.model_copy(update={"signatures": (body,)}).signed
    try:
        scene.rules.keys.check(alone, needed=1)
    except SignatureFault as fault:
        raise signature_refusal(fault) from None


def _draft(_: Scene, __: None, body: ProtocolDraft) -> Change:
    return Change(SharingVersion(document=body.document, hash=document_hash(body.document)))


def _adopt(scene: Scene, content: SharingVersion, body: Adoption) -> Change:
    return Change(
        content.model_copy(update={"decision": body.decision}),
        (ProtocolAdopted(**_named(content), decision=body.decision),),
    )


def _sign(scene: Scene, content: SharingVersion, body: HolderSignature) -> Change:
    """The second signature starts the delay; there is none where none of its parties was ever bound."""
    after = content.model_copy(update={"signatures": (*content.signatures, body)})
    if len(after.signatures) < NEEDED:
        return Change(after)
    bound = (one.content.document.parties for one in scene.register.all(SharingVersion) if was_in_force(one))
    is_first = set(content.document.parties).isdisjoint(party for parties in bound for party in parties)
    begins = scene.at if is_first else scene.at + scene.rules.delay
    after = after.model_copy(update={"in_force_at": max(begins, content.document.valid_from)})
    fact = ProtocolSigned(**_named(content), in_force_at=after.in_force_at)
    return Change(after, (fact,), state="signed")


def _take_force(scene: Scene, content: SharingVersion, _: Nothing) -> Change:
    """Others of the same protocol end; one older than what was in force stays out: no reader goes back."""
    others = [
        one
        for one in versions(scene.register, content.document.id)
        if was_in_force(one) and one.id != scene.act.id
    ]
    if any(one.content.document.version > content.document.version for one in others):
        return Change(content, (ProtocolReplaced(**_named(content)),), state="replaced")
    live = [one for one in others if one.state in LIVE]
    then = tuple(scene.follow("protocol", one.id, "replace", Nothing()) for one in live)
    return Change(content, (ProtocolInForce(**_named(content)),), then, state="in_force")


def _warn(scene: Scene, content: SharingVersion, _: Nothing) -> Change:
    days = scene.days_until(content.document.valid_until)
    return Change(content, (ProtocolExpiring(**_named(content), days_left=days),))


def _end(fact: type[ProtocolExpired] | type[ProtocolReplaced]) -> Any:
    """What ends a version, and tells this fact."""
    return lambda _, content, __: Change(content, (fact(**_named(content)),))


def differences(old: ProtocolDocument, new: ProtocolDocument) -> Iterator[str]:
    """Every cell in which two versions differ, in words."""
    before, after = dict(_cells(old)), dict(_cells(new))
    for cell in [*before, *(cell for cell in after if cell not in before)]:
        was, is_now = before.get(cell), after.get(cell)
        if was != is_now:
            yield (
                f"{cell}: {is_now}, which was not there before"
                if was is None
                else f"{cell}: no longer there, was {was}"
                if is_now is None
                else f"{cell}: {is_now} instead of {was}"
            )


VISIBILITY: Final[Mapping[str, str]] = {
    "F": "in full",
    "C": "in coarse form",
    "O": "where she names it",
    "N": "not at all",
}


def _cells(document: ProtocolDocument) -> Iterator[tuple[str, str]]:
    """Each cell of a protocol as what it is about, and what it says."""
    yield "valid from", document.valid_from.isoformat()
    yield "valid until", document.valid_until.isoformat()
    yield "jurisdiction", document.jurisdiction
    yield "directory entries count as fresh for", f"{document.entry_fresh_for_days} days"
    for party in document.parties:
        yield f"party {party}", "takes part"
    for row, readers in document.matrix.items():
        for reader, sees in readers.items():
            yield f"{row} is seen by {reader}", VISIBILITY.get(str(sees), str(sees))
    for timer, lengths in document.timers.items():
        for urgency, seconds in lengths.items():
            yield f"{timer} when {urgency}", f"{seconds} seconds"
    pulls: dict[str, set[str]] = {}
    for one in document.pulls:
        for purpose in one.purposes:
            cell = f"{one.group} may be pulled by {one.recipient} on {one.basis} for {purpose}"
            pulls.setdefault(cell, set()).update(one.fields)
    for cell, fields in pulls.items():
        yield cell, ", ".join(sorted(fields))


def _named(content: SharingVersion) -> dict[str, Any]:
    return {"protocol": content.document.id, "version": content.document.version}


def _timer(record: GovernanceRecord[SharingVersion]) -> tuple[datetime, str] | None:
    its = record.content
    ends = its.document.valid_until
    match record.state:
        case "signed" if its.in_force_at and its.in_force_at < ends:
            return its.in_force_at, "take_force"
        case "in_force":
            return ends - EXPIRES_WITHIN, "warn"
        case "draft" | "adopted" | "signed" | "expiring":
            return ends, "expire"
    return None


def _current(record: GovernanceRecord[SharingVersion]) -> Body | None:
    return record.content.signed if record.state == "in_force" else None


PROTOCOLS: Final = LifeCycle(
    content=SharingVersion,
    plural="protocols",
    id_kind="protocol_version",
    most=1_000,
    waits="draft adopted",
    rows=(
        ActRow(NOTHING, "draft", "secretary", "draft", ProtocolDraft, _draft,
            (_is_next,), "Draft the next version of a protocol."),
        drop_row("draft", "secretary"),
        ActRow("draft", "adopt", DECISION, "adopted", Adoption, _adopt),
        ActRow("adopted", "sign", "approver", "", HolderSignature, _sign,
            (_is_a_holders,), "Hand in one holder's signature; two bring it into force after the delay."),
        ActRow("signed", "take_force", CLOCK, "", Nothing, _take_force),
        ActRow("in_force", "warn", CLOCK, "expiring", Nothing, _warn),
        ActRow("in_force expiring", "replace", DECISION, "replaced", Nothing, _end(ProtocolReplaced)),
        ActRow("draft adopted signed in_force expiring", "expire", CLOCK, "expired", Nothing,
            _end(ProtocolExpired)),
    ),
    timer=_timer,
    current=_current,
)  # fmt: skip
