"""How each step is decided: what it makes of the referral, and the facts that say so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from schemas.events import referral as contract
from schemas.events.governance import ProtocolDocument, Timer, Urgency
from schemas.events.referral import FactBase, OfferReferral, StepBase, StepRefused, WithdrawReferral
from schemas.wire.envelope import ReadEvent
from services.referrals.domain import refusals
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
from services.referrals.domain.referral import Facts, Move, Outcome, Referral, Refusal, about, expire
from services.runtime.errors import Refused


@dataclass(frozen=True, slots=True)
class StepRule:
    """What tells of a step that moves a referral, and which code list one of its members must be on."""

    fact: type[FactBase]
    coded: str = ""
    codes: frozenset[str] = frozenset()


RULES: Final[Mapping[Verb, StepRule]] = {
    Verb.ACKNOWLEDGE: StepRule(contract.ReferralAcknowledged),
    Verb.ACCEPT: StepRule(contract.ReferralAccepted),
    Verb.DECLINE: StepRule(contract.ReferralDeclined, "reason", contract.DECLINE_REASONS),
    Verb.START: StepRule(contract.ServiceStarted),
    Verb.PROVIDE: StepRule(contract.ServiceProvided, "outcome", contract.OUTCOMES),
    Verb.GIVE_FEEDBACK: StepRule(contract.FeedbackGiven, "outcome", contract.FEEDBACK),
    Verb.CLOSE: StepRule(contract.ReferralClosed, "reason", contract.CLOSE_REASONS),
    Verb.CANCEL: StepRule(contract.ReferralCancelled, "reason", contract.CANCEL_REASONS),
}
"""Steps whose fact repeats what they say; offer, withdrawal and seal have a function each."""

VERBS: Final[Mapping[type[StepBase], Verb]] = {
    step: Verb(short.removeprefix("referral.")) for short, step in contract.STEPS.items()
}


def decide(
    referral: Referral | None, asked: ReadEvent[StepBase], in_force: InForce, *, at: datetime
) -> Outcome:
    """Answer one step: move the referral, or refuse it to the asker."""
    lapsed: Facts = ()
    verb = VERBS[type(asked.body)]
    try:
        check_may_speak(asked, in_force)
        if referral is None:
            moved, facts = offer(asked.body, in_force, at=at)
        else:
            if referral.party(asked.body.agency) != ASKER[verb]:
                raise refusals.NotAParty
            referral, lapsed = lapse(referral, verb, at=at)
            moved, facts = answer(referral, asked.body, in_force, at=at)
    except Refused as refused:
        refusal = _refusal(referral, asked, verb, refused, in_force)
        return Outcome(referral, lapsed, at, asked.id, refusal)
    return Outcome(moved, lapsed + facts, at, asked.id)


def check_may_speak(asked: ReadEvent[StepBase], in_force: InForce) -> None:
    """A sector speaks for its own agencies, and for a suspended one only where that protects her."""
    if _is_forged(asked, in_force):
        raise refusals.NotAParty
    agency = in_force.agencies.get(asked.body.agency)
    if agency is None or not (agency.is_active or type(asked.body) in contract.PROTECTS_HER):
        raise refusals.AgencyInactive


def lapse(referral: Referral, verb: Verb, *, at: datetime) -> Move:
    """A step that comes after the answer deadline finds the referral expired; some steps win nevertheless."""
    is_late = referral.state in AWAITING_ANSWER and referral.answer_by_at <= at
    if not is_late or verb in NEVER_LATE:
        return referral, ()
    return expire(referral)


def offer(step: StepBase, in_force: InForce, *, at: datetime) -> Move:
    """The owner asks another agency's service to take a need on; any other first step concerns nobody."""
    if not isinstance(step, OfferReferral):
        raise refusals.NotAParty
    receiver, service, protocol = admit(step, in_force, at=at)
    document = in_force.protocols[protocol]
    offered = Referral(
        id=step.referral,
        owner=step.agency,
        owner_desk=step.duty,
        receiver=receiver.id,
        receiver_desk=service.desk,
        state=after(None, Verb.OFFER),
        urgency=step.urgency,
        feedback_allowed=step.consent.feedback,
        protocol=protocol,
        acknowledge_by_at=at + _span(document, "acknowledge", step.urgency),
        answer_by_at=at + _span(document, "answer", step.urgency),
    )
    fact = _fact(
        contract.ReferralOffered,
        offered,
        step,
        owner=offered.owner,
        receiver=offered.receiver,
        purpose=step.consent.purpose,
        feedback_allowed=offered.feedback_allowed,
        answer_due_at=offered.answer_by_at,
    )
    return offered, (fact,)


def answer(referral: Referral, step: StepBase, in_force: InForce, *, at: datetime) -> Move:
    """What a step makes of a referral that it may be asked of."""
    if isinstance(step, WithdrawReferral):
        return withdraw(referral, step, in_force, at=at)
    verb = VERBS[type(step)]
    moved = referral.moved_by(verb)
    if verb is Verb.CONFIRM_SEALED:
        confirmed = _fact(contract.SealConfirmed, referral, step)
        return moved, (confirmed, contract.ReferralSealed(**about(moved)))
    check_feedback(referral, verb)
    rule = RULES[verb]
    if rule.codes and getattr(step, rule.coded) not in rule.codes:
        raise refusals.UnknownCode
    return moved, (_fact(rule.fact, moved, step),)


def check_feedback(referral: Referral, verb: Verb) -> None:
    """Feedback passes if her consent lets it; then it comes before the end."""
    if verb is Verb.GIVE_FEEDBACK and not referral.feedback_allowed:
        raise refusals.ConsentDoesNotCover
    if verb is Verb.CLOSE and referral.state is State.PROVIDED and referral.feedback_allowed:
        raise refusals.WrongState


def withdraw(referral: Referral, step: WithdrawReferral, in_force: InForce, *, at: datetime) -> Move:
    """She takes her consent back; after the end this only brings the sealing forward."""
    if referral.seal_by_at is not None:
        raise refusals.Withdrawn
    if referral.state in TERMINAL and referral.state is not State.SEALED:
        moved = replace(referral, version=referral.version + 1)
    else:
        moved = referral.moved_by(Verb.WITHDRAW)
    seal_by_at = at + _span(in_force.protocols[referral.protocol], "seal", referral.urgency)
    fact = _fact(contract.ReferralWithdrawn, moved, step, seal_by_at=seal_by_at)
    return replace(moved, seal_by_at=seal_by_at), (fact,)


def _fact(kind: type[FactBase], referral: Referral, step: StepBase, **more: object) -> FactBase:
    """The fact of a step: it repeats what the step says under the same names."""
    repeated = {name: getattr(step, name) for name in _shared_fields(kind, type(step))}
    return kind(**repeated | about(referral) | more)


@cache
def _shared_fields(fact: type[FactBase], step: type[StepBase]) -> frozenset[str]:
    return frozenset(fact.model_fields.keys() & step.model_fields.keys())


def _refusal(
    referral: Referral | None, asked: ReadEvent[StepBase], verb: Verb, refused: Refused, in_force: InForce
) -> Refusal:
    step = asked.body
    is_forged = _is_forged(asked, in_force)
    may_know = referral is not None and not is_forged and referral.party(step.agency)
    place = about(referral) if referral and may_know else {"referral": step.referral}
    fact = StepRefused(**place, step=asked.id, asked=verb, code=refused.code)
    return Refusal(fact, step.agency, asked.service, is_numbered=not is_forged)


def _is_forged(asked: ReadEvent[StepBase], in_force: InForce) -> bool:
    """Whether the agency is known, and another sector's; one not heard of yet has its sector to answer it."""
    agency = in_force.agencies.get(asked.body.agency)
    return agency is not None and agency.sector != asked.service


def _span(document: ProtocolDocument, timer: Timer, urgency: Urgency) -> timedelta:
    return timedelta(seconds=document.timers[timer][urgency])
