"""The story of a referral: what a sector may ask (steps), what the arbiter says happened (facts)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from schemas.events.consent import PURPOSES, ConsentProof
from schemas.events.governance import DocumentHash, Timer, Urgency
from schemas.ids import AgencyId, DeskCode, EventId, ReferralId, ServiceId
from schemas.wire.body import Body, Code, Count, Flag, Instant, listed
from schemas.wire.minimisation import EVERYBODY, PARTIES, STATISTICS_ALONE, MatrixRow, rows_of, unmarked

Area = Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z0-9]{0,8}$")]
"""A p-code, no finer than the second administrative level."""
AgeBand = Literal["child", "adolescent", "young_adult", "adult", "older"]
AppointmentWindow = Literal["today", "this_week", "this_month", "to_be_arranged"]
SealMethod = Literal["nothing_held", "key_destroyed", "deleted", "paper_destroyed"]

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
REFUSALS: Final = frozenset({
    "not_a_party", "wrong_state", "too_late", "unknown_code", "no_live_protocol", "agency_inactive",
    "consent_does_not_cover", "withdrawn", "entry_stale",
})  # fmt: skip

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

StateName = Annotated[Code, listed(AWAITS)]
RefusalCode = Annotated[Code, listed(REFUSALS)]
NeedCode = Annotated[Code, listed(NEEDS)]
AccessNeed = Annotated[Code, listed(ACCESS_NEEDS)]
DeclineReason = Annotated[Code, listed(DECLINE_REASONS)]
CancelReason = Annotated[Code, listed(CANCEL_REASONS)]
CloseReason = Annotated[Code, listed(CLOSE_REASONS)]
Outcome = Annotated[Code, listed(OUTCOMES)]
FeedbackCode = Annotated[Code, listed(FEEDBACK)]
PurposeCode = Annotated[Code, listed(PURPOSES)]

Needs = Annotated[tuple[NeedCode, ...], Field(min_length=1, max_length=8)]
AccessNeeds = Annotated[tuple[AccessNeed, ...], Field(max_length=8)]


def _coarse_needs(needs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({"support_at_school" if need == "school_support" else "support" for need in needs}))


def _coarse_urgency(urgency: str) -> str:
    return "urgent" if urgency in ("critical", "urgent") else "routine"


def _coarse_age(band: str) -> str:
    return "child" if band in ("child", "adolescent") else "adult"


def _coarse_access(needs: tuple[str, ...]) -> tuple[str, ...]:
    return ("some",) if needs else ()


class NeedFields(BaseModel):
    """What an offer says of the need; in a fact each reader sees what its column of the matrix allows."""

    needs: Annotated[Needs | None, MatrixRow("need", _coarse_needs)] = None
    urgency: Annotated[Urgency | None, MatrixRow("need", _coarse_urgency)] = None
    age_band: Annotated[AgeBand | None, MatrixRow("age", _coarse_age)] = None
    minor: Annotated[Flag | None, MatrixRow("age", lambda minor: minor)] = None
    access_needs: Annotated[AccessNeeds | None, MatrixRow("access", _coarse_access)] = None
    immediate_danger: Annotated[Flag | None, MatrixRow("danger", lambda danger: danger)] = None
    weapons: Annotated[Flag | None, MatrixRow("danger", lambda weapons: False)] = None
    area: Annotated[Area | None, EVERYBODY] = None


class OfferFields(NeedFields):
    """The same as the owner sends it: what it must say, and what it says where it says nothing."""

    service: ServiceId
    needs: Needs
    urgency: Urgency
    access_needs: AccessNeeds = ()
    immediate_danger: Flag = False
    weapons: Flag = False
    area: Area


class StepBase(Body):
    """What every step names: the referral, the agency that asks, and the duty role in which it asks."""

    key_field: ClassVar[str] = "referral"
    resource: ClassVar[str] = ""
    """The sub-resource of a referral to which agencies post it; an offer makes the referral itself."""

    referral: ReferralId
    agency: AgencyId
    duty: DeskCode


class OfferReferral(OfferFields, StepBase):
    """The owner asks another agency's service to take a need on."""

    type: ClassVar[str] = "referral.offer"

    consent: ConsentProof


class AcknowledgeReferral(StepBase):
    """The receiver has seen the offer and will answer."""

    type: ClassVar[str] = "referral.acknowledge"
    resource: ClassVar[str] = "acknowledgements"


class AcceptReferral(StepBase):
    """The receiver takes the referral on."""

    type: ClassVar[str] = "referral.accept"
    resource: ClassVar[str] = "acceptances"

    appointment: AppointmentWindow


class DeclineReferral(StepBase):
    """The receiver will not take the referral on, and says why."""

    type: ClassVar[str] = "referral.decline"
    resource: ClassVar[str] = "declines"

    reason: DeclineReason
    suggested_service: ServiceId | None = None


class StartService(StepBase):
    """The receiver begins the service."""

    type: ClassVar[str] = "referral.start"
    resource: ClassVar[str] = "starts"


class ProvideService(StepBase):
    """The receiver has given the service."""

    type: ClassVar[str] = "referral.provide"
    resource: ClassVar[str] = "provisions"

    outcome: Outcome


class GiveFeedback(StepBase):
    """The receiver tells the owner how it went, where her consent covers that."""

    type: ClassVar[str] = "referral.give_feedback"
    resource: ClassVar[str] = "feedback"

    outcome: FeedbackCode


class CloseReferral(StepBase):
    """The owner ends a referral whose service was given."""

    type: ClassVar[str] = "referral.close"
    resource: ClassVar[str] = "closures"

    reason: CloseReason


class CancelReferral(StepBase):
    """The owner no longer needs the service."""

    type: ClassVar[str] = "referral.cancel"
    resource: ClassVar[str] = "cancellations"

    reason: CancelReason


class WithdrawReferral(StepBase):
    """She takes her consent back; the owner says so for her, without her reason."""

    type: ClassVar[str] = "referral.withdraw"
    resource: ClassVar[str] = "withdrawals"

    stop_contact: Flag = True


class ConfirmSealed(StepBase):
    """The receiver says that its copy can no longer be read, and how."""

    type: ClassVar[str] = "referral.confirm_sealed"
    resource: ClassVar[str] = "seal-confirmations"

    method: SealMethod


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


class FeedbackGiven(FactBase):
    """The receiver told the owner how it went."""

    type: ClassVar[str] = "referral.feedback_given"

    outcome: Annotated[FeedbackCode, EVERYBODY]


class ReferralClosed(FactBase):
    """The owner ended the referral."""

    type: ClassVar[str] = "referral.closed"

    reason: Annotated[CloseReason, EVERYBODY]


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


class ReferralExpired(FactBase):
    """Nobody answered in time."""

    type: ClassVar[str] = "referral.expired"

    timer: Annotated[Timer, EVERYBODY]


class DeskReminded(FactBase):
    """A desk has let a deadline pass; the referral stays where it is."""

    type: ClassVar[str] = "referral.reminded"

    timer: Annotated[Timer, EVERYBODY]


class StepRefused(FactBase):
    """The arbiter refused a step, and says which and why, to the asker alone."""

    type: ClassVar[str] = "referral.step_refused"

    step: Annotated[EventId, EVERYBODY]
    asked: Annotated[Code, EVERYBODY]
    """The step's short name, such as `accept`."""
    code: Annotated[RefusalCode, EVERYBODY]


STEPS: Final[Mapping[str, type[StepBase]]] = {step.type: step for step in StepBase.__subclasses__()}
FACTS: Final[Mapping[str, type[FactBase]]] = {fact.type: fact for fact in FactBase.__subclasses__()}
ROWS: Final = frozenset(row.name for row in rows_of(ReferralOffered).values())
"""The rows that the matrix of every protocol has."""

if missing := list(unmarked(FACTS.values())):
    # Before any process of ours could send one.
    raise RuntimeError(f"nobody decided yet who may see {', '.join(missing)}")

PROTECTS_HER: Final[tuple[type[StepBase], ...]] = (WithdrawReferral, CancelReferral, ConfirmSealed)
"""Steps that pass although the agency that asks is suspended: she never waits for an agency's standing."""


def awaited(state: str, *, feedback_allowed: bool) -> PartyName | None:
    """Who must act next; without feedback the owner closes as soon as the service was given.

    Nobody that we could name in a state that a later version adds.
    """
    if state == "provided" and not feedback_allowed:
        return "owner"
    return AWAITS.get(state)
