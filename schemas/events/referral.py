"""The story of a referral: what a sector may ask (steps), what the arbiter says happened (facts)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from schemas.events.consent import PURPOSES, ConsentProof
from schemas.events.governance import DocumentHash, Timer, Urgency
from schemas.ids import AgencyId, DeskCode, EventId, ReferralId, ServiceId
from schemas.wire.body import Body, Count, Flag, Instant, listed

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
"""A code that governance may extend; whether it is known is checked against the tables below."""
Area = Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z0-9]{0,8}$")]
"""A p-code, no finer than the second administrative level."""
AgeBand = Literal["child", "adolescent", "young_adult", "adult", "older"]
AppointmentWindow = Literal["today", "this_week", "this_month", "to_be_arranged"]

NEEDS: Final = frozenset({
    "medical_care", "psychosocial_support", "safety_planning", "safe_shelter", "legal_aid",
    "police_protection", "child_protection", "school_support", "livelihood_support", "case_coordination",
})  # fmt: skip
ACCESS_NEEDS: Final = frozenset({
    "interpreter", "sign_language", "wheelchair", "transport", "female_staff", "child_care",
})  # fmt: skip
DECLINE_REASONS: Final = frozenset({
    "no_capacity", "outside_area", "outside_mandate", "age_not_served", "language_not_served",
    "conflict_of_interest",
})  # fmt: skip
CANCEL_REASONS: Final = frozenset({"no_longer_needed", "made_in_error", "found_elsewhere"})
CLOSE_REASONS: Final = frozenset({"needs_met", "survivor_asked", "contact_lost", "moved_away", "other"})
OUTCOMES: Final = frozenset({"completed", "ongoing_elsewhere", "single_contact"})
FEEDBACK: Final = frozenset({"helped", "helped_in_part", "did_not_help", "prefers_not_to_say"})

StateName = Literal[
    "offered", "acknowledged", "accepted", "in_service", "provided", "feedback_given", "declined", "expired",
    "cancelled", "withdrawn", "closed", "sealed",
]  # fmt: skip
RefusalCode = Literal[
    "not_a_party", "wrong_state", "too_late", "unknown_code", "no_live_protocol", "agency_inactive",
    "consent_does_not_cover", "withdrawn", "entry_stale",
]  # fmt: skip

NeedCode = Annotated[Code, listed(NEEDS)]
AccessNeed = Annotated[Code, listed(ACCESS_NEEDS)]
DeclineReason = Annotated[Code, listed(DECLINE_REASONS)]
CancelReason = Annotated[Code, listed(CANCEL_REASONS)]
CloseReason = Annotated[Code, listed(CLOSE_REASONS)]
Outcome = Annotated[Code, listed(OUTCOMES)]
FeedbackCode = Annotated[Code, listed(FEEDBACK)]
PurposeCode = Annotated[Code, listed(PURPOSES)]


class StepBase(Body):
    """What every step names: the referral, the agency that asks, and the duty role in which it asks."""

    key_field: ClassVar[str] = "referral"

    referral: ReferralId
    agency: AgencyId
    duty: DeskCode


class OfferReferral(StepBase):
    """The owner asks another agency's service to take a need on."""

    type: ClassVar[str] = "referral.offer"

    service: ServiceId
    needs: tuple[NeedCode, ...] = Field(min_length=1, max_length=8)
    urgency: Urgency
    age_band: AgeBand | None = None
    minor: Flag | None = None
    access_needs: tuple[AccessNeed, ...] = Field(default=(), max_length=8)
    immediate_danger: Flag = False
    weapons: Flag = False
    area: Area
    consent: ConsentProof


class AcknowledgeReferral(StepBase):
    """The receiver has seen the offer and will answer."""

    type: ClassVar[str] = "referral.acknowledge"


class AcceptReferral(StepBase):
    """The receiver takes the referral on."""

    type: ClassVar[str] = "referral.accept"

    appointment: AppointmentWindow


class DeclineReferral(StepBase):
    """The receiver will not take the referral on, and says why."""

    type: ClassVar[str] = "referral.decline"

    reason: DeclineReason
    suggested_service: ServiceId | None = None


class StartService(StepBase):
    """The receiver begins the service."""

    type: ClassVar[str] = "referral.start"


class ProvideService(StepBase):
    """The receiver has given the service."""

    type: ClassVar[str] = "referral.provide"

    outcome: Outcome


class GiveFeedback(StepBase):
    """The receiver tells the owner how it went, where her consent covers that."""

    type: ClassVar[str] = "referral.give_feedback"

    outcome: FeedbackCode


class CloseReferral(StepBase):
    """The owner ends a referral whose service was given."""

    type: ClassVar[str] = "referral.close"

    reason: CloseReason


class CancelReferral(StepBase):
    """The owner no longer needs the service."""

    type: ClassVar[str] = "referral.cancel"

    reason: CancelReason


class WithdrawReferral(StepBase):
    """She takes her consent back; the owner says so for her, without her reason."""

    type: ClassVar[str] = "referral.withdraw"

    stop_contact: Flag = True


class ConfirmSealed(StepBase):
    """The receiver says that its copy can no longer be read, and how."""

    type: ClassVar[str] = "referral.confirm_sealed"

    method: Literal["nothing_held", "key_destroyed", "deleted", "paper_destroyed"]


class FactBase(Body):
    """What every fact names; addressed ones are numbered from 1 without gap per referral and addressee."""

    key_field: ClassVar[str] = "referral"

    referral: ReferralId
    to: AgencyId | None = None
    number: Count | None = None
    state: StateName | None = None
    """Where the referral stands after this fact; absent where a refused step created nothing."""
    protocol: DocumentHash | None = None
    """Hash of the protocol under which the referral was offered."""
    awaits: AgencyId | None = None
    """The agency that must act next, on the statistics topic only."""
    awaits_desk: DeskCode | None = None


class ReferralOffered(FactBase):
    """A referral was offered; what the reader may not see of it is absent or coarse."""

    type: ClassVar[str] = "referral.offered"

    owner: AgencyId | None = None
    receiver: AgencyId | None = None
    service: ServiceId | None = None
    needs: tuple[NeedCode, ...] | None = None
    urgency: Urgency | None = None
    age_band: AgeBand | None = None
    minor: Flag | None = None
    access_needs: tuple[AccessNeed, ...] | None = None
    immediate_danger: Flag | None = None
    weapons: Flag | None = None
    area: Area | None = None
    purpose: PurposeCode | None = None
    feedback_allowed: Flag | None = None
    answer_due_at: Instant | None = None


class ReferralAcknowledged(FactBase):
    """The receiver has seen the offer."""

    type: ClassVar[str] = "referral.acknowledged"

    duty: DeskCode | None = None


class ReferralAccepted(FactBase):
    """The receiver took the referral on."""

    type: ClassVar[str] = "referral.accepted"

    appointment: AppointmentWindow | None = None


class ReferralDeclined(FactBase):
    """The receiver will not take the referral on."""

    type: ClassVar[str] = "referral.declined"

    reason: DeclineReason
    suggested_service: ServiceId | None = None


class ServiceStarted(FactBase):
    """The service has begun."""

    type: ClassVar[str] = "referral.started"


class ServiceProvided(FactBase):
    """The service was given."""

    type: ClassVar[str] = "referral.provided"

    outcome: Outcome


class FeedbackGiven(FactBase):
    """The receiver told the owner how it went."""

    type: ClassVar[str] = "referral.feedback_given"

    outcome: FeedbackCode


class ReferralClosed(FactBase):
    """The owner ended the referral."""

    type: ClassVar[str] = "referral.closed"

    reason: CloseReason


class ReferralCancelled(FactBase):
    """The owner no longer needs the service."""

    type: ClassVar[str] = "referral.cancelled"

    reason: CancelReason


class ReferralWithdrawn(FactBase):
    """She took her consent back: contact stops, copies are sealed by the time given."""

    type: ClassVar[str] = "referral.withdrawn"

    stop_contact: Flag
    seal_by_at: Instant


class SealConfirmed(FactBase):
    """The receiver confirmed that its copy can no longer be read."""

    type: ClassVar[str] = "referral.seal_confirmed"

    method: Literal["nothing_held", "key_destroyed", "deleted", "paper_destroyed"]


class ReferralSealed(FactBase):
    """Every copy is sealed; nothing can follow."""

    type: ClassVar[str] = "referral.sealed"


class ReferralExpired(FactBase):
    """Nobody answered in time."""

    type: ClassVar[str] = "referral.expired"

    timer: Timer


class DeskReminded(FactBase):
    """A desk has let a deadline pass; the referral stays where it is."""

    type: ClassVar[str] = "referral.reminded"

    timer: Timer


class StepRefused(FactBase):
    """The arbiter refused a step, and says which and why, to the asker alone."""

    type: ClassVar[str] = "referral.step_refused"

    step: EventId
    asked: Code
    """The step's short name, such as `accept`."""
    code: RefusalCode


Step = (
    OfferReferral | AcknowledgeReferral | AcceptReferral | DeclineReferral | StartService | ProvideService
    | GiveFeedback | CloseReferral | CancelReferral | WithdrawReferral | ConfirmSealed
)  # fmt: skip
Fact = (
    ReferralOffered | ReferralAcknowledged | ReferralAccepted | ReferralDeclined | ServiceStarted
    | ServiceProvided | FeedbackGiven | ReferralClosed | ReferralCancelled | ReferralWithdrawn | SealConfirmed
    | ReferralSealed | ReferralExpired | DeskReminded | StepRefused
)  # fmt: skip

PROTECTS_HER: Final[tuple[type[StepBase], ...]] = (WithdrawReferral, CancelReferral, ConfirmSealed)
"""Steps that pass although the agency that asks is suspended: she never waits for an agency's standing."""

PartyName = Literal["owner", "receiver"]
AWAITS: Final[Mapping[str, PartyName | None]] = {
    "offered": "receiver",
    "acknowledged": "receiver",
    "accepted": "receiver",
    "in_service": "receiver",
    "provided": "receiver",  # the owner, where her consent excludes feedback: see `awaited`
    "feedback_given": "owner",
    "declined": "owner",
    "expired": "owner",
    "cancelled": "receiver",  # here and in the next two: until the copy is sealed
    "withdrawn": "receiver",
    "closed": "receiver",
    "sealed": None,
}
"""State → the party that must act next: mails, worklists and statistics all read it here."""


def awaited(state: str, *, feedback_allowed: bool) -> PartyName | None:
    """Who must act next; without feedback the owner closes as soon as the service was given."""
    if state == "provided" and not feedback_allowed:
        return "owner"
    return AWAITS[state]


STEPS: Final[Mapping[str, type[StepBase]]] = {step.type: step for step in Step.__args__}
FACTS: Final[Mapping[str, type[FactBase]]] = {fact.type: fact for fact in Fact.__args__}
