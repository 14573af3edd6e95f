"""How each step is decided: one small function a step gives the referral afterwards, and the facts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.events import referral as contract
from schemas.events.governance import ProtocolDocument, Timer, Urgency
from schemas.events.referral import FactBase, StepBase, StepRefused
from services.referrals.domain.gate import InForce, admit
from services.referrals.domain.life_cycle import (
    ASKER,
    AWAITING_ANSWER,
    NEVER_LATE,
    TERMINAL,
    State,
    Verb,
    after,
)
from services.referrals.domain.referral import Facts, Moved, Outcome, Referral, Refusal, about, expire
from services.referrals.domain.refusals import (
    AgencyInactive,
    ConsentDoesNotCover,
    NotAParty,
    UnknownCode,
    Withdrawn,
    WrongState,
)
from services.runtime.errors import Refused
from services.runtime.subscription import Received


def decide(
    referral: Referral | None, asked: Received[StepBase], in_force: InForce, *, at: datetime
) -> Outcome:
    """Answer one step: move the referral, or refuse it to the asker."""
    lapsed: Facts = ()
    verb = VERBS[type(asked.body)]
    try:
        check_may_speak(asked, in_force)
        if referral is None:
            moved, facts = offer(asked.body, in_force, at=at)
        else:
            check_may_ask(referral, asked.body.agency, verb)
            referral, lapsed = lapse(referral, verb, at=at)
            moved, facts = STEPS[verb](referral, asked.body, in_force, at)
    except Refused as refused:
        refusal = _refusal(referral, asked, verb, refused, in_force)
        return Outcome(referral, lapsed, at, asked.id, refusal)
    return Outcome(moved, lapsed + facts, at, asked.id)


def check_may_speak(asked: Received[StepBase], in_force: InForce) -> None:
    """A sector speaks for its own agencies, and for a suspended one only where that protects her."""
    if _is_forged(asked, in_force):
        raise NotAParty
    agency = in_force.agencies.get(asked.body.agency)
    if agency is None or not (agency.is_active or type(asked.body) in contract.PROTECTS_HER):
        raise AgencyInactive


def check_may_ask(referral: Referral, agency: str, verb: Verb) -> None:
    """The asker is the party that may ask this step."""
    if referral.party(agency) is not ASKER[verb]:
        raise NotAParty


def lapse(referral: Referral, verb: Verb, *, at: datetime) -> Moved:
    """A step that comes after the answer deadline finds the referral expired; some steps win nevertheless."""
    is_late = referral.state in AWAITING_ANSWER and referral.answer_by_at <= at
    if not is_late or verb in NEVER_LATE:
        return referral, ()
    return expire(referral)


def offer(step: StepBase, in_force: InForce, *, at: datetime) -> Moved:
    """The owner asks another agency's service to take a need on; any other first step concerns nobody."""
    if not isinstance(step, contract.OfferReferral):
        raise NotAParty
    admission = admit(step, in_force, at=at)
    offered = Referral(
        id=step.referral,
        owner=step.agency,
        owner_desk=step.duty,
        receiver=admission.receiver.id,
        receiver_desk=admission.desk,
        state=after(None, Verb.OFFER),
        urgency=step.urgency,
        feedback_allowed=step.consent.feedback,
        protocol=admission.protocol,
        acknowledge_by_at=at + _span(admission.document, "acknowledge", step.urgency),
        answer_by_at=at + _span(admission.document, "answer", step.urgency),
    )
    return offered, (_offered(offered, step),)


def offer_again(referral: Referral, step: contract.OfferReferral, in_force: InForce, at: datetime) -> Moved:
    """An id is offered once: no table leads on from here."""
    return referral.moved_by(Verb.OFFER), ()


def acknowledge(
    referral: Referral, step: contract.AcknowledgeReferral, in_force: InForce, at: datetime
) -> Moved:
    """The receiver has seen the offer."""
    moved = referral.moved_by(Verb.ACKNOWLEDGE)
    return moved, (contract.ReferralAcknowledged(**about(moved), duty=step.duty),)


def accept(referral: Referral, step: contract.AcceptReferral, in_force: InForce, at: datetime) -> Moved:
    """The receiver takes the referral on."""
    moved = referral.moved_by(Verb.ACCEPT)
    return moved, (contract.ReferralAccepted(**about(moved), appointment=step.appointment),)


def decline(referral: Referral, step: contract.DeclineReferral, in_force: InForce, at: datetime) -> Moved:
    """The receiver says no, and says why."""
    moved = referral.moved_by(Verb.DECLINE)
    _check_known(step.reason, contract.DECLINE_REASONS)
    fact = contract.ReferralDeclined(
        **about(moved), reason=step.reason, suggested_service=step.suggested_service
    )
    return moved, (fact,)


def start(referral: Referral, step: contract.StartService, in_force: InForce, at: datetime) -> Moved:
    """The receiver begins the service."""
    moved = referral.moved_by(Verb.START)
    return moved, (contract.ServiceStarted(**about(moved)),)


def provide(referral: Referral, step: contract.ProvideService, in_force: InForce, at: datetime) -> Moved:
    """The receiver has given the service."""
    moved = referral.moved_by(Verb.PROVIDE)
    _check_known(step.outcome, contract.OUTCOMES)
    return moved, (contract.ServiceProvided(**about(moved), outcome=step.outcome),)


def give_feedback(referral: Referral, step: contract.GiveFeedback, in_force: InForce, at: datetime) -> Moved:
    """The receiver tells how it went, if her consent lets it."""
    moved = referral.moved_by(Verb.GIVE_FEEDBACK)
    _check_known(step.outcome, contract.FEEDBACK)
    if not referral.feedback_allowed:
        raise ConsentDoesNotCover
    return moved, (contract.FeedbackGiven(**about(moved), outcome=step.outcome),)


def close(referral: Referral, step: contract.CloseReferral, in_force: InForce, at: datetime) -> Moved:
    """The owner ends the referral; feedback that her consent allows comes first."""
    moved = referral.moved_by(Verb.CLOSE)
    if referral.state is State.PROVIDED and referral.feedback_allowed:
        raise WrongState
    _check_known(step.reason, contract.CLOSE_REASONS)
    return moved, (contract.ReferralClosed(**about(moved), reason=step.reason),)


def cancel(referral: Referral, step: contract.CancelReferral, in_force: InForce, at: datetime) -> Moved:
    """The owner no longer needs the service."""
    moved = referral.moved_by(Verb.CANCEL)
    _check_known(step.reason, contract.CANCEL_REASONS)
    return moved, (contract.ReferralCancelled(**about(moved), reason=step.reason),)


def withdraw(referral: Referral, step: contract.WithdrawReferral, in_force: InForce, at: datetime) -> Moved:
    """She takes her consent back; after the end this only brings the sealing forward."""
    if referral.seal_by_at is not None:
        raise Withdrawn
    if referral.state in TERMINAL and referral.state is not State.SEALED:
        moved = replace(referral, version=referral.version + 1)
    else:
        moved = referral.moved_by(Verb.WITHDRAW)
    seal_by_at = at + _span(in_force.protocols[referral.protocol], "seal", referral.urgency)
    fact = contract.ReferralWithdrawn(**about(moved), stop_contact=step.stop_contact, seal_by_at=seal_by_at)
    return replace(moved, seal_by_at=seal_by_at), (fact,)


def confirm_sealed(
    referral: Referral, step: contract.ConfirmSealed, in_force: InForce, at: datetime
) -> Moved:
    """The receiver's copy can no longer be read: nothing can follow."""
    moved = referral.moved_by(Verb.CONFIRM_SEALED)
    confirmed = contract.SealConfirmed(**about(referral), method=step.method)
    return moved, (confirmed, contract.ReferralSealed(**about(moved)))


STEPS: Final[Mapping[Verb, Callable[[Referral, Any, InForce, datetime], Moved]]] = {
    Verb.OFFER: offer_again,
    Verb.ACKNOWLEDGE: acknowledge,
    Verb.ACCEPT: accept,
    Verb.DECLINE: decline,
    Verb.START: start,
    Verb.PROVIDE: provide,
    Verb.GIVE_FEEDBACK: give_feedback,
    Verb.CLOSE: close,
    Verb.CANCEL: cancel,
    Verb.WITHDRAW: withdraw,
    Verb.CONFIRM_SEALED: confirm_sealed,
}
VERBS: Final[Mapping[type[StepBase], Verb]] = {
    step: Verb(short.removeprefix("referral.")) for short, step in contract.STEPS.items()
}


def _offered(referral: Referral, step: contract.OfferReferral) -> FactBase:
    return contract.ReferralOffered(
        **about(referral),
        owner=referral.owner,
        receiver=referral.receiver,
        service=step.service,
        needs=step.needs,
        urgency=step.urgency,
        age_band=step.age_band,
        minor=step.minor,
        access_needs=step.access_needs,
        immediate_danger=step.immediate_danger,
        weapons=step.weapons,
        area=step.area,
        purpose=step.consent.purpose,
        feedback_allowed=step.consent.feedback,
        answer_due_at=referral.answer_by_at,
    )


def _refusal(
    referral: Referral | None, asked: Received[StepBase], verb: Verb, refused: Refused, in_force: InForce
) -> Refusal:
    step = asked.body
    is_forged = _is_forged(asked, in_force)
    may_know = referral is not None and not is_forged and referral.party(step.agency)
    place = about(referral) if referral and may_know else {"referral": step.referral}
    fact = StepRefused(**place, step=asked.id, asked=verb, code=refused.code)
    return Refusal(fact, step.agency, asked.service, is_numbered=not is_forged)


def _is_forged(asked: Received[StepBase], in_force: InForce) -> bool:
    """Whether the agency is known, and another sector's; one not heard of yet has its sector to answer it."""
    agency = in_force.agencies.get(asked.body.agency)
    return agency is not None and agency.sector != asked.service


def _span(document: ProtocolDocument, timer: Timer, urgency: Urgency) -> timedelta:
    return timedelta(seconds=document.timers[timer][urgency])


def _check_known(code: str, table: frozenset[str]) -> None:
    if code not in table:
        raise UnknownCode
