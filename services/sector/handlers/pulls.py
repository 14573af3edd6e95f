"""Pulls: whether one stands, at the recipient's sector and at the owner's, and what the release rests on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

from schemas.events.access import (
    Access,
    Approver,
    Explanation,
    PermitAnswer,
    PermitRequest,
    ProtocolVersion,
    Recipient,
)
from schemas.events.break_glass import BadApproval, BreakGlassApproval, check_approval
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.policy import PullFacts, PullTable, compile_pulls, decide
from schemas.events.pulls import PacketPull
from schemas.trail.permits import PermitBody
from schemas.wire.key_records import KeyRecord
from schemas.wire.public_keys import KeyFault, public_bytes
from services.runtime.errors import NotFound
from services.sector.domain import refusals
from services.sector.domain.bodies import PullRequest
from services.sector.domain.consents import ConsentRecord, covers_pull
from services.sector.domain.requests import Asker
from services.sector.domain.views import ReferralView
from services.sector.handlers.closures import hold_open
from services.sector.handlers.looks import own_view
from services.sector.handlers.work import Case, Work
from services.sector.vault.requests import DangerGround, StoredGroup, SubjectPlace

MAY_PULL: Final = frozenset({"accepted", "in_service"})
"""States in which the receiver may pull; in any other it is told that there is nothing."""
IN_DANGER: Final = MAY_PULL | {"offered", "acknowledged"}
"""The same where another agency agreed that she is in danger."""


@dataclass(frozen=True, slots=True)
class ReleaseGround:
    """All that one release rests on, as this service's database has it at one moment."""

    access: Access
    """What the trail is asked; if it changes before the release, there is none."""
    case: Case
    subject: SubjectPlace
    groups: tuple[StoredGroup, ...] = field(repr=False)
    documents: Mapping[str, str] = field(repr=False)
    """What governance signed, for the vault: `recipient`, `service`, `protocol`."""
    consent: ConsentRecord | None
    danger: DangerGround | None


HandOver = Callable[[bytes], Awaitable[None]]
"""Gives an answer to the asker's connection; returns once its last byte is handed to the kernel."""


@dataclass(frozen=True, slots=True)
class PermittedRelease:
    """A pull whose intent stands in the trail, not yet released."""

    pull: PacketPull
    access: Access
    request: PermitRequest
    answer: PermitAnswer
    permit: PermitBody


class PacketGate(Protocol):
    """The owner's side of a pull."""

    async def permit(self, pull: PacketPull) -> PermittedRelease:
        """Have the intent recorded; a refusal is in the trail before it is raised."""

    async def release(self, permitted: PermittedRelease, hand_over: HandOver) -> None:
        """Hand the groups over and record it, or raise with nothing handed over."""


async def asked_pull(referral: str, asked: PullRequest, by: Asker, work: Work) -> tuple[PacketPull, str]:
    """The pull as the owner's sector is asked, with the agency's key record; and which sector that is.

    A stranger, and a receiver in any state but those of `MAY_PULL`, find what an unknown id finds.
    """
    view = await own_view(referral, by, work)
    if view.role == "receiver" and view.state not in (IN_DANGER if asked.approval else MAY_PULL):
        raise NotFound
    owner = by.agency if view.role == "owner" else str((view.offer or {}).get("owner"))
    standing = (await work.register.standings({owner})).get(owner)
    if standing is None:
        raise NotFound
    pull = PacketPull(
        referral=referral,
        purpose=asked.purpose,
        groups=asked.groups,
        recipient=by.agency,
        actor=by.actor,
        key_record=await _record(asked.key, by, work),
        approval=asked.approval,
    )
    return pull, standing.sector


async def ground_of(pull: PacketPull, work: Work, *, is_release: bool = False) -> ReleaseGround:
    """What a release of this pull rests on now; NotFound, ConsentDoesNotCover or PullDenied if it does not.

    Where it `is_release`, all of it is held open until the commit: who closes some of it waits, or is seen.
    """
    view = await work.views.owned(pull.referral)
    if view is None or view.case is None or view.subject_number is None:
        raise NotFound
    basis = _basis(view, pull)
    try:
        case = await work.cases.find(view.case, view.agency)
        consent = await work.cases.ruling_consent(view.consent.id) if view.consent else None
        named = consent.version.ref if consent and basis != "own_case" else None
        if is_release:
            await hold_open(case, named, work)
    except refusals.CaseErased:  # before, or while the case was waited for
        if basis == "own_case":
            raise
        raise NotFound from None  # a receiver learns no more than a stranger
    if basis != "own_case" and (consent is None or consent.is_closed):
        raise NotFound  # what she took back, no danger opens
    if basis == "consent" and not (consent and covers_pull(consent, pull, case.id, at=work.clock.now())):
        raise refusals.ConsentDoesNotCover
    danger = await _danger(pull.approval, pull, work) if basis == "break_glass" and pull.approval else None
    documents = await work.register.documents(pull.recipient, view.protocol or "", work.profile.name)
    if documents is None:
        raise NotFound
    protocol = await _decided(pull, basis, documents["protocol"], work)
    groups = tuple(await work.packets.newest(case.packet, pull.groups))
    wraps = await work.packets.case_wraps([case.keyset])
    if len(groups) < len(set(pull.groups)) or not wraps:
        raise refusals.PacketEmpty
    access = Access(
        act="break_glass" if danger else "disclosure",
        purpose=pull.purpose,
        basis=basis,
        actor=pull.actor,
        agency=pull.recipient,
        subject=view.referral,
        referral=view.referral,
        packet=case.packet,
        groups={row.wrap.group: row.wrap.version for row in groups},
        consent=named,
        protocol=protocol,
        recipient=Recipient(agency=pull.recipient, key=pull.key_record.key),
        **(_approved(pull.approval) if danger and pull.approval else {}),
        explain=(Explanation(code="is_owner" if basis == "own_case" else "is_receiver", ref=view.referral),),
    )
    subject = SubjectPlace(case=wraps[case.keyset], number=view.subject_number)
    return ReleaseGround(access, case, subject, groups, documents, consent, danger)


async def _record(key: str | None, by: Asker, work: Work) -> KeyRecord:
    """The record of the key that is named, or of the agency's newest that is valid now."""
    at = work.clock.now()
    for one in await work.key_records.of_agency(by.agency, at):
        if not one.is_revoked and one.record.not_before <= at and key in (None, one.record.key):
            return one.record
    raise refusals.KeyRecordMissing


def _basis(view: ReferralView, pull: PacketPull) -> str:
    """On what the pull rests; a stranger, and a receiver in another state, find nothing."""
    if view.agency == pull.recipient:
        return "own_case"
    states = IN_DANGER if pull.approval else MAY_PULL
    if (view.offer or {}).get("receiver") != pull.recipient or view.state not in states:
        raise NotFound
    return "break_glass" if pull.approval else "consent"


def _approved(approval: BreakGlassApproval) -> Mapping[str, Any]:
    approver = Approver(agency=approval.approver, id=approval.approved_by)
    return {"approver": approver, "reason": approval.reason}


async def _danger(approval: BreakGlassApproval, pull: PacketPull, work: Work) -> DangerGround:
    """The approval with what governance signed of whoever gave it; the vault looks at all of it again."""
    approver = (await work.register.last(AgencyCurrent, {approval.approver})).get(approval.approver)
    if approver is None or approver.status != "active":
        raise refusals.ApprovalRefused
    service = (await work.register.last(ServiceCurrent, {approver.sector})).get(approver.sector)
    if service is None:
        raise refusals.ApprovalRefused
    try:
        check_approval(
            approval,
            public_bytes(service.signing_key),
            referral=pull.referral,
            requester=pull.recipient,
            groups=pull.groups,
            at=work.clock.now(),
        )
    except (BadApproval, KeyFault):
        raise refusals.ApprovalRefused from None
    documents = (one.model_dump_json().encode() for one in (approval, approver, service))
    return DangerGround(**dict(zip(("approval", "approver", "service"), documents, strict=True)))


async def _decided(pull: PacketPull, basis: str, document: str, work: Work) -> ProtocolVersion:
    """The protocol under which the pull is allowed."""
    standing = (await work.register.standings({pull.recipient})).get(pull.recipient)
    if standing is None:
        raise NotFound
    current, table = _compiled(document)
    decision = decide(PullFacts(standing.sector, pull.groups, pull.purpose, basis), table)
    if not decision.allowed:
        raise refusals.PULL_DENIALS.get(decision.code, refusals.GroupNotShared)
    return ProtocolVersion(id=current.document.id, hash=bytes.fromhex(current.hash))


@lru_cache(maxsize=64)
def _compiled(document: str) -> tuple[ProtocolCurrent, PullTable]:
    current = ProtocolCurrent.model_validate_json(document)
    return current, compile_pulls(current.document)
