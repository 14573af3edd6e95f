"""What the arbiter says happened to a referral, in the order in which it can happen."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from schemas.events.break_glass import DangerCode
from schemas.events.codes import (
    AppointmentWindow,
    CancelReason,
    CloseReason,
    CountMark,
    DeclineReason,
    FeedbackCode,
    Groups,
    NotProvidedReason,
    Outcome,
    Punctuality,
    PurposeCode,
    RefusalCode,
    ReofferReason,
    SealMethod,
    UnmetNeed,
)
from schemas.events.governance import DocumentHash, Timer
from schemas.events.life_cycle import PartyName, State
from schemas.events.referral import NeedFields, ShownUrgency
from schemas.ids import AgencyId, DeskCode, EventId, ReferralId, ServiceId
from schemas.wire.body import Body, Code, Count, Flag, Instant, listed
from schemas.wire.minimisation import (
    EVERYBODY,
    NOT_RECEIVER,
    OWNER_ALONE,
    PARTIES,
    STATISTICS_ALONE,
    rows_of,
    unmarked,
)

AWAITS: Final[Mapping[str, PartyName | None]] = {
    State.OFFERED.value: "receiver",
    State.ACKNOWLEDGED.value: "receiver",
    State.ACCEPTED.value: "receiver",
    State.IN_SERVICE.value: "receiver",
    State.PROVIDED.value: "receiver",  # the owner, where her consent excludes feedback: see `awaited`
    State.FEEDBACK_GIVEN.value: "owner",
    State.DECLINED.value: "owner",  # here and in the next three: a successor, or an unmet need
    State.EXPIRED.value: "owner",
    State.NOT_PROVIDED.value: "owner",
    State.UNABLE_TO_REACH.value: "owner",
    State.REDIRECTED.value: "receiver",  # here and in the next four: until the copy is sealed
    State.CANCELLED.value: "receiver",
    State.WITHDRAWN.value: "receiver",
    State.CLOSED.value: "receiver",
    State.CLOSED_UNMET.value: "receiver",
    State.SEALED.value: None,
}
"""State → the party that must act next: mails, worklists and statistics all read it here."""

StateName = Annotated[Code, listed(AWAITS)]


class FactBase(Body):
    """What every fact names; addressed ones are numbered from 1 without gap per referral and addressee."""

    key_field: ClassVar[str] = "referral"

    referral: Annotated[ReferralId, EVERYBODY]
    to: Annotated[AgencyId | None, PARTIES] = None
    number: Annotated[Count | None, PARTIES] = None
    state: Annotated[StateName | None, EVERYBODY] = None
    """Where the referral stands after this fact; absent where a refused step created nothing."""
    protocol: Annotated[DocumentHash | None, EVERYBODY] = None
    """Hash of the protocol under which the referral was offered."""
    met: Annotated[Punctuality | None, EVERYBODY] = None
    """Whether this ended a deadline in time; absent where it ended none."""
    awaits: Annotated[AgencyId | None, STATISTICS_ALONE] = None
    """The agency that must act next, on the statistics topic only."""
    awaits_desk: Annotated[DeskCode | None, STATISTICS_ALONE] = None


class ReferralOffered(NeedFields, FactBase):
    """A referral was offered; what the reader may not see of it is absent or coarse."""

    type: ClassVar[str] = "referral.offered"

    owner: Annotated[AgencyId | None, PARTIES] = None
    receiver: Annotated[AgencyId | None, PARTIES] = None
    service: Annotated[ServiceId | None, PARTIES] = None
    purpose: Annotated[PurposeCode | None, PARTIES] = None
    feedback_allowed: Annotated[Flag | None, PARTIES] = None
    answer_due_at: Annotated[Instant | None, PARTIES] = None
    count: Annotated[CountMark | None, NOT_RECEIVER] = None
    hop: Annotated[Count | None, NOT_RECEIVER] = None
    """Which one of a chain of referrals that replace each other; the receiver learns of no other."""


class ReferralAcknowledged(FactBase):
    """The receiver has seen the offer."""

    type: ClassVar[str] = "referral.acknowledged"

    duty: Annotated[DeskCode | None, PARTIES] = None


class ReferralAccepted(FactBase):
    """The receiver took the referral on."""

    type: ClassVar[str] = "referral.accepted"

    appointment: Annotated[AppointmentWindow | None, PARTIES] = None


class ReferralDeclined(FactBase):
    """The receiver will not take the referral on."""

    type: ClassVar[str] = "referral.declined"

    reason: Annotated[DeclineReason, EVERYBODY]
    suggested_service: Annotated[ServiceId | None, PARTIES] = None


class ServiceStarted(FactBase):
    """The service has begun."""

    type: ClassVar[str] = "referral.started"


class ServiceProvided(FactBase):
    """The service was given."""

    type: ClassVar[str] = "referral.provided"

    outcome: Annotated[Outcome, EVERYBODY]


class ServiceNotProvided(FactBase):
    """The receiver cannot give the service that it took on."""

    type: ClassVar[str] = "referral.not_provided"

    reason: Annotated[NotProvidedReason, EVERYBODY]


class ReferralUnreachable(FactBase):
    """The receiver could not reach her."""

    type: ClassVar[str] = "referral.unreachable"

    attempts: Annotated[Count, EVERYBODY]
    rules_kept: Annotated[Flag, EVERYBODY]


class FeedbackGiven(FactBase):
    """The receiver told the owner how it went."""

    type: ClassVar[str] = "referral.feedback_given"

    outcome: Annotated[FeedbackCode, EVERYBODY]


class ReferralRedirected(FactBase):
    """The owner asks another service instead; which one, its receiver does not learn."""

    type: ClassVar[str] = "referral.redirected"

    successor: Annotated[ReferralId | None, OWNER_ALONE] = None
    hop: Annotated[Count | None, NOT_RECEIVER] = None
    """The successor's place in the chain."""


class ReferralReoffered(FactBase):
    """The owner asks the same service once more."""

    type: ClassVar[str] = "referral.reoffered"

    reason: Annotated[ReofferReason, EVERYBODY]
    urgency: ShownUrgency = None
    attempt: Annotated[Count, EVERYBODY]
    answer_due_at: Annotated[Instant | None, PARTIES] = None


class ReferralClosed(FactBase):
    """The owner ended the referral, or nobody had anything to add for a long time."""

    type: ClassVar[str] = "referral.closed"

    reason: Annotated[CloseReason, EVERYBODY]


class ReferralClosedUnmet(FactBase):
    """The owner ended a referral that nobody helped with; a need stays unmet."""

    type: ClassVar[str] = "referral.closed_unmet"

    unmet: Annotated[UnmetNeed, EVERYBODY]


class ReferralCancelled(FactBase):
    """The owner no longer needs the service."""

    type: ClassVar[str] = "referral.cancelled"

    reason: Annotated[CancelReason, EVERYBODY]


class ReferralWithdrawn(FactBase):
    """She took her consent back: contact stops, copies are sealed by the time given."""

    type: ClassVar[str] = "referral.withdrawn"

    stop_contact: Annotated[Flag, EVERYBODY]
    seal_by_at: Annotated[Instant, EVERYBODY]


class SealConfirmed(FactBase):
    """The receiver confirmed that its copy can no longer be read."""

    type: ClassVar[str] = "referral.seal_confirmed"

    method: Annotated[SealMethod, EVERYBODY]


class ReferralSealed(FactBase):
    """Every copy is sealed; nothing can follow."""

    type: ClassVar[str] = "referral.sealed"


class ConsentNarrowed(FactBase):
    """Her consent covers fewer groups: what is held of these is sealed by the time given."""

    type: ClassVar[str] = "referral.consent_narrowed"

    groups: Annotated[Groups | None, PARTIES] = None
    version: Annotated[Count | None, PARTIES] = None
    """Of her consent; whoever confirms names it."""
    seal_by_at: Annotated[Instant, EVERYBODY]


class NarrowingConfirmed(FactBase):
    """The receiver confirmed that its copy of those groups can no longer be read."""

    type: ClassVar[str] = "referral.narrowing_confirmed"

    method: Annotated[SealMethod, EVERYBODY]


class ErasureOrdered(FactBase):
    """Her case is erased: contact stops, and whoever holds something erases it by the time given."""

    type: ClassVar[str] = "referral.erasure_ordered"

    seal_by_at: Annotated[Instant, EVERYBODY]


class ReferralErased(FactBase):
    """The receiver confirmed that nothing of hers is left."""

    type: ClassVar[str] = "referral.erased"

    method: Annotated[SealMethod, EVERYBODY]


class BreakGlassOpened(FactBase):
    """The receiver was let look without her consent, because she is in danger and another agency agreed."""

    type: ClassVar[str] = "referral.break_glass_opened"

    groups: Annotated[Groups | None, PARTIES] = None
    reason: Annotated[DangerCode, EVERYBODY]
    approver: Annotated[AgencyId | None, PARTIES] = None


class ReferralExpired(FactBase):
    """Nobody answered in time."""

    type: ClassVar[str] = "referral.expired"

    timer: Annotated[Timer, EVERYBODY]


class DeskReminded(FactBase):
    """A desk has let a deadline pass; the referral stays where it is."""

    type: ClassVar[str] = "referral.reminded"

    timer: Annotated[Timer, EVERYBODY]


class SealOverdue(FactBase):
    """A copy should have been sealed by now, and its holder has not confirmed it."""

    type: ClassVar[str] = "referral.seal_overdue"

    timer: Annotated[Timer, EVERYBODY]


class StepRefused(FactBase):
    """The arbiter refused a step, and says which and why, to the asker alone."""

    type: ClassVar[str] = "referral.step_refused"

    step: Annotated[EventId, EVERYBODY]
    asked: Annotated[Code, EVERYBODY]
    """The step's short name, such as `accept`."""
    code: Annotated[RefusalCode, EVERYBODY]


FACTS: Final[Mapping[str, type[FactBase]]] = {fact.type: fact for fact in FactBase.__subclasses__()}
ROWS: Final = frozenset(row.name for row in rows_of(ReferralOffered).values())
"""The rows that the matrix of every protocol has."""

if missing := list(unmarked(FACTS.values())):
    # Before any process of ours could send one.
    raise RuntimeError(f"nobody decided yet who may see {', '.join(missing)}")


def awaited(state: str, *, feedback_allowed: bool) -> PartyName | None:
    """Who must act next; without feedback the owner closes as soon as the service was given.

    Nobody that we could name in a state that a later version adds.
    """
    if state == "provided" and not feedback_allowed:
        return "owner"
    return AWAITS.get(state)
