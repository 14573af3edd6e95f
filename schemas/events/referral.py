"""What a sector may ask of a referral: the steps, in the order in which they can be asked."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, Field

from schemas.events.break_glass import DangerCode
from schemas.events.codes import (
    AccessNeeds,
    AgeBand,
    AppointmentWindow,
    Area,
    CancelReason,
    CloseReason,
    CountMark,
    DeclineReason,
    FeedbackCode,
    Groups,
    Needs,
    NotProvidedReason,
    Outcome,
    ReofferReason,
    SealMethod,
    UnmetNeed,
)
from schemas.events.consent import ConsentProof
from schemas.events.governance import Urgency
from schemas.ids import AgencyId, DeskCode, ReferralId, ServiceId
from schemas.wire.body import Body, Count, Flag
from schemas.wire.minimisation import (
    EVERYBODY,
    MatrixRow,
)


def _coarse_needs(needs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({"support_at_school" if need == "school_support" else "support" for need in needs}))


def _coarse_urgency(urgency: str) -> str:
    return "urgent" if urgency in ("critical", "urgent") else "routine"


def _coarse_age(band: str) -> str:
    return "child" if band in ("child", "adolescent") else "adult"


def _coarse_access(needs: tuple[str, ...]) -> tuple[str, ...]:
    return ("some",) if needs else ()


ShownUrgency = Annotated[Urgency | None, MatrixRow("need", _coarse_urgency)]
"""The urgency in a fact, as each reader may see it."""


class NeedFields(BaseModel):
    """What an offer says of the need; in a fact each reader sees what its column of the matrix allows."""

    needs: Annotated[Needs | None, MatrixRow("need", _coarse_needs)] = None
    urgency: ShownUrgency = None
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
    count: CountMark = "none"


class StepBase(Body):
    """What every step names: the referral, the agency that asks, and the duty role in which it asks."""

    key_field: ClassVar[str] = "referral"
    resource: ClassVar[str] = ""
    """The sub-resource of a referral to which agencies post it; other requests ask for steps without one."""

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


class NotProvideService(StepBase):
    """The receiver cannot give the service that it took on, and says why."""

    type: ClassVar[str] = "referral.not_provide"
    resource: ClassVar[str] = "non-provisions"

    reason: NotProvidedReason


class ReportUnreachable(StepBase):
    """The receiver has tried to reach her, by her rules or not, and could not."""

    type: ClassVar[str] = "referral.unable_to_reach"
    resource: ClassVar[str] = "unreachable-reports"

    attempts: Annotated[Count, Field(ge=1, le=20)]
    rules_kept: Flag


class GiveFeedback(StepBase):
    """The receiver tells the owner how it went, where her consent covers that."""

    type: ClassVar[str] = "referral.give_feedback"
    resource: ClassVar[str] = "feedback"

    outcome: FeedbackCode


class RedirectReferral(OfferFields, StepBase):
    """The owner asks another service instead of one that does not help: a new referral, under a new id."""

    type: ClassVar[str] = "referral.redirect"
    resource: ClassVar[str] = "redirections"

    successor: ReferralId
    consent: ConsentProof


class ReofferReferral(StepBase):
    """The owner asks the same service once more."""

    type: ClassVar[str] = "referral.reoffer"
    resource: ClassVar[str] = "reoffers"

    reason: ReofferReason
    consent: ConsentProof


class CloseReferral(StepBase):
    """The owner ends a referral whose service was given."""

    type: ClassVar[str] = "referral.close"
    resource: ClassVar[str] = "closures"

    reason: CloseReason


class CloseUnmet(StepBase):
    """The owner ends a referral that nobody helped with, and says which need stays unmet."""

    type: ClassVar[str] = "referral.close_unmet"
    resource: ClassVar[str] = "unmet-closures"

    unmet: UnmetNeed


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


class NarrowConsent(StepBase):
    """Her newer consent covers fewer groups; the owner's service says which ones are to be sealed."""

    type: ClassVar[str] = "referral.narrow_consent"

    groups: Groups
    version: Annotated[Count, Field(ge=1)]


class ConfirmNarrowed(StepBase):
    """The receiver says that its copy of the groups can no longer be read, and how."""

    type: ClassVar[str] = "referral.confirm_narrowed"
    resource: ClassVar[str] = "narrowing-confirmations"

    version: Annotated[Count, Field(ge=1)]
    """Of her consent, as the narrowing told it: a later one waits for a confirmation of its own."""
    method: SealMethod


class OrderErasure(StepBase):
    """Her case is erased; the owner's service asks every holder to erase what it has."""

    type: ClassVar[str] = "referral.order_erasure"


class ConfirmErased(StepBase):
    """The receiver says that nothing of hers is left, and how."""

    type: ClassVar[str] = "referral.confirm_erased"
    resource: ClassVar[str] = "erasure-confirmations"

    method: SealMethod


class ReportBreakGlass(StepBase):
    """The owner's service has let the receiver look without her consent, because she is in danger."""

    type: ClassVar[str] = "referral.report_break_glass"

    groups: Groups
    reason: DangerCode
    approver: AgencyId


STEPS: Final[Mapping[str, type[StepBase]]] = {step.type: step for step in StepBase.__subclasses__()}
PROTECTS_HER: Final[tuple[type[StepBase], ...]] = (
    WithdrawReferral, CancelReferral, ConfirmSealed, NarrowConsent, ConfirmNarrowed, OrderErasure,
    ConfirmErased, ReportBreakGlass,
)  # fmt: skip
"""Steps that pass although the agency that asks is suspended: she never waits for an agency's standing."""
