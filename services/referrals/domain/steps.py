"""How each step is decided: what it makes of the referral, and the facts that say so."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from schemas.events import codes
from schemas.events import facts as contract
from schemas.events.consent import ConsentProof
from schemas.events.facts import FactBase, StepRefused
from schemas.events.life_cycle import ASKER, NEVER_LATE, STOPS, State, Verb, is_open
from schemas.events.referral import PROTECTS_HER, STEPS, OfferReferral, RedirectReferral, StepBase
from schemas.wire.envelope import ReadEvent
from services.referrals.domain import refusals
from services.referrals.domain.gate import InForce, admit, check_codes
from services.referrals.domain.life_cycle import CLOCKS, after
from services.referrals.domain.referral import NOBODY, Facts, Move, Outcome, Referral, Refusal, about, lapse
from services.runtime.errors import Refused

FACT_OF: Final[Mapping[Verb, type[FactBase]]] = {
    Verb.ACKNOWLEDGE: contract.ReferralAcknowledged,
    Verb.ACCEPT: contract.ReferralAccepted,
    Verb.DECLINE: contract.ReferralDeclined,
    Verb.START: contract.ServiceStarted,
    Verb.PROVIDE: contract.ServiceProvided,
    Verb.NOT_PROVIDE: contract.ServiceNotProvided,
    Verb.UNABLE_TO_REACH: contract.ReferralUnreachable,
    Verb.GIVE_FEEDBACK: contract.FeedbackGiven,
    Verb.REOFFER: contract.ReferralReoffered,
    Verb.CLOSE: contract.ReferralClosed,
    Verb.CLOSE_UNMET: contract.ReferralClosedUnmet,
    Verb.CANCEL: contract.ReferralCancelled,
    Verb.WITHDRAW: contract.ReferralWithdrawn,
    Verb.CONFIRM_SEALED: contract.SealConfirmed,
    Verb.NARROW_CONSENT: contract.ConsentNarrowed,
    Verb.CONFIRM_NARROWED: contract.NarrowingConfirmed,
    Verb.ORDER_ERASURE: contract.ErasureOrdered,
    Verb.CONFIRM_ERASED: contract.ReferralErased,
    Verb.REPORT_BREAK_GLASS: contract.BreakGlassOpened,
}
"""Steps whose fact repeats what they say; an offer makes a referral, and a redirection two facts of two."""

VERBS: Final[Mapping[type[StepBase], Verb]] = {
    step: Verb(short.removeprefix("referral.")) for short, step in STEPS.items()
}


def decide(
    referral: Referral | None,
    asked: ReadEvent[StepBase],
    in_force: InForce,
    *,
    at: datetime,
    successor: Referral | None = None,
) -> Outcome:
    """Answer one step: move the referral, or refuse it to the asker.

    `successor` is what is known of the id that a redirection gives to the next referral.
    """
    lapsed: Facts = ()
    step, verb = asked.body, VERBS[type(asked.body)]
    following: Outcome | None = None
    try:
        check_may_speak(asked, in_force)
        if referral is None:
            moved, facts = keep_stop(step, at=at) if verb in STOPS else offer(step, in_force, at=at)
        else:
            if referral.party(step.agency) != ASKER[verb]:
                raise refusals.NotAParty
            if verb not in NEVER_LATE and referral.protocol:
                referral, lapsed = lapse(referral, in_force.protocols[referral.protocol], at=at)
            if isinstance(step, RedirectReferral):
                moved, facts, following = redirect(referral, step, successor, in_force, at=at)
            else:
                moved, facts = answer(referral, step, in_force, at=at)
            facts = with_punctuality(facts, referral, moved, verb, at=at)
    except Refused as refused:
        refusal = _refusal(referral, asked, verb, refused, in_force)
        return Outcome(referral, lapsed, at, asked.id, refusal)
    return Outcome(moved, lapsed + facts, at, asked.id, successor=following)


def check_may_speak(asked: ReadEvent[StepBase], in_force: InForce) -> None:
    """A sector speaks for its own agencies, and for a suspended one only where that protects her."""
    if _is_forged(asked, in_force):
        raise refusals.NotAParty
    agency = in_force.agencies.get(asked.body.agency)
    if agency is None or not (agency.is_active or type(asked.body) in PROTECTS_HER):
        raise refusals.AgencyInactive


def keep_stop(step: StepBase, *, at: datetime) -> Move:
    """She stops a referral before the step that creates it has come: kept, so that it is never created."""
    stopped = Referral(
        id=step.referral, owner=step.agency, owner_desk=step.duty, receiver=NOBODY, receiver_desk="",
        service="", state=State.WITHDRAWN, urgency="routine", feedback_allowed=False, protocol="",
        seal_by_at=at,
    )  # fmt: skip
    return stopped, (_fact(FACT_OF[VERBS[type(step)]], stopped, step, seal_by_at=at),)


def offer(step: StepBase, in_force: InForce, *, at: datetime) -> Move:
    """The owner asks another agency's service to take a need on; any other first step concerns nobody."""
    if not isinstance(step, OfferReferral):
        raise refusals.NotAParty
    check_codes(step)
    return _offered(step.referral, step, in_force, at=at, hop=1)


def redirect(
    referral: Referral, step: RedirectReferral, known: Referral | None, in_force: InForce, *, at: datetime
) -> tuple[Referral, Facts, Outcome]:
    """Another service is asked instead: this referral ends, and its successor is offered, or neither."""
    after(referral.state, Verb.REDIRECT)  # one that was stopped before it was created has no protocol
    moved = referral.moved_by(Verb.REDIRECT, in_force.protocols[referral.protocol], at=at)
    check_codes(step)
    if referral.hop >= codes.HOPS_MAX:
        raise refusals.HopLimit
    check_groups(referral, step.consent)
    if known is not None:  # she withdrew it before it was created, or the id is another referral's
        raise refusals.Withdrawn if known.party(step.agency) == "owner" else refusals.NotAParty
    new, offered = _offered(step.successor, step, in_force, at=at, hop=referral.hop + 1)
    # Nothing that both receivers see joins the two: no cause, and `addressing` shows the first no exact time.
    told = contract.ReferralRedirected(**about(moved), successor=new.id, hop=new.hop)
    return moved, (told,), Outcome(new, offered, at)


def answer(referral: Referral, step: StepBase, in_force: InForce, *, at: datetime) -> Move:
    """What a step makes of a referral that it may be asked of."""
    verb = VERBS[type(step)]
    after(referral.state, verb)
    if not is_open(verb, referral.circumstances(at)):
        raise _CLOSED.get(verb, refusals.WrongState)
    check_codes(step)
    if not referral.receiver:
        raise refusals.Withdrawn
    moved = referral.moved_by(verb, in_force.protocols[referral.protocol], at=at)
    more: dict[str, object] = {}
    if verb in _BESIDES:
        moved, more = _BESIDES[verb](moved, step, in_force, at)
    # A copy is confirmed where the referral stood; that everything is sealed is a fact of its own.
    place = referral if verb is Verb.CONFIRM_SEALED else moved
    facts: Facts = (_fact(FACT_OF[verb], place, step, **more),)
    if verb is Verb.CONFIRM_SEALED:
        facts += (contract.ReferralSealed(**about(moved)),)
    return moved, facts


def check_groups(referral: Referral, consent: ConsentProof) -> None:
    """A packet only shrinks along a chain, unless she agreed to more since."""
    if not set(consent.groups) <= set(referral.groups) and consent.version <= referral.consent_version:
        raise refusals.PacketGrew


def with_punctuality(facts: Facts, before: Referral, moved: Referral, verb: Verb, *, at: datetime) -> Facts:
    """The facts, the first of which says whether the step ended its clock in time."""
    ended = [name for name in CLOCKS if name in before.deadlines and name not in moved.deadlines]
    if not ended or verb in NEVER_LATE:
        return facts
    met = "met" if at < before.deadlines[ended[-1]].by_at else "missed"
    return (facts[0].model_copy(update={"met": met}), *facts[1:])


Besides = tuple[Referral, dict[str, object]]
"""A moved referral with what its step changes besides the state, and what the fact says of that."""


def _reoffer(moved: Referral, step: Any, in_force: InForce, at: datetime) -> Besides:
    """The same service is asked again, through the same gate and under the protocol of today."""
    if moved.attempt >= codes.HOPS_MAX:
        raise refusals.HopLimit
    check_groups(moved, step.consent)
    receiver, entry, protocol = admit(moved.owner, moved.service, step.consent, in_force, at=at)
    if receiver.id != moved.receiver:
        raise refusals.EntryStale  # the service is another agency's now
    again = replace(
        moved,
        receiver_desk=entry.desk,
        protocol=protocol,
        groups=step.consent.groups,
        consent_version=step.consent.version,
        feedback_allowed=step.consent.feedback,
        attempt=moved.attempt + 1,
        deadlines={},
    ).with_clocks(in_force.protocols[protocol], at=at)
    by_at = again.deadlines["answer"].by_at
    return again, {"attempt": again.attempt, "urgency": again.urgency, "answer_due_at": by_at}


def _withdraw(moved: Referral, step: Any, in_force: InForce, at: datetime) -> Besides:
    """She takes her consent back; after the end this only brings the sealing forward."""
    document = in_force.protocols[moved.protocol]
    stopped = moved.without_clock("seal_after_end").with_clock("seal", document, at=at)
    stopped = replace(stopped, seal_by_at=stopped.deadlines["seal"].by_at)
    return stopped, {"seal_by_at": stopped.seal_by_at}


def _narrow(moved: Referral, step: Any, in_force: InForce, at: datetime) -> Besides:
    """Her newer consent covers fewer groups; what was to be sealed before is not given more time."""
    narrowed, running = moved, moved.deadlines.get("narrow")
    if running is None or running.by_at <= at:
        narrowed = moved.with_clock("narrow", in_force.protocols[moved.protocol], at=at)
    groups = tuple(group for group in moved.groups if group not in step.groups)
    version = max(moved.consent_version, step.version)
    narrowed = replace(narrowed, groups=groups, consent_version=version)
    return narrowed, {"seal_by_at": narrowed.deadlines["narrow"].by_at}


def _confirm_narrowed(moved: Referral, step: Any, in_force: InForce, at: datetime) -> Besides:
    """The receiver sealed what the newest narrowing names; what it says of an older one settles nothing."""
    if step.version != moved.consent_version:
        raise refusals.WrongState
    return moved.without_clock("narrow"), {}


def _order_erasure(moved: Referral, step: Any, in_force: InForce, at: datetime) -> Besides:
    """Her case is erased: nothing goes on, and the receiver erases what it has."""
    ordered = moved.with_clock("erase", in_force.protocols[moved.protocol], at=at)
    by_at = ordered.deadlines["erase"].by_at
    return replace(ordered, seal_by_at=min(by_at, ordered.seal_by_at or by_at)), {"seal_by_at": by_at}


_BESIDES: Final[Mapping[Verb, Callable[[Referral, Any, InForce, datetime], Besides]]] = {
    Verb.REOFFER: _reoffer,
    Verb.WITHDRAW: _withdraw,
    Verb.NARROW_CONSENT: _narrow,
    Verb.ORDER_ERASURE: _order_erasure,
    Verb.CONFIRM_NARROWED: _confirm_narrowed,
    Verb.CONFIRM_ERASED: lambda moved, step, in_force, at: (moved.without_clock("erase"), {}),
}
_CLOSED: Final[Mapping[Verb, type[Refused]]] = {
    Verb.GIVE_FEEDBACK: refusals.ConsentDoesNotCover,
    Verb.WITHDRAW: refusals.Withdrawn,
}
"""Why a step is refused where something besides the state shuts it out."""


def _offered(
    referral: str, step: OfferReferral | RedirectReferral, in_force: InForce, *, at: datetime, hop: int
) -> Move:
    """A new referral, through the gate, with its clocks."""
    receiver, service, protocol = admit(step.agency, step.service, step.consent, in_force, at=at)
    offered = Referral(
        id=referral,
        owner=step.agency,
        owner_desk=step.duty,
        receiver=receiver.id,
        receiver_desk=service.desk,
        service=step.service,
        state=after(None, Verb.OFFER),
        urgency=step.urgency,
        feedback_allowed=step.consent.feedback,
        protocol=protocol,
        groups=step.consent.groups,
        consent_version=step.consent.version,
        hop=hop,
    ).with_clocks(in_force.protocols[protocol], at=at)
    fact = _fact(
        contract.ReferralOffered,
        offered,
        step,
        owner=offered.owner,
        receiver=offered.receiver,
        purpose=step.consent.purpose,
        feedback_allowed=offered.feedback_allowed,
        answer_due_at=offered.deadlines["answer"].by_at,
        hop=hop,
    )
    if receiver.is_probe or in_force.agencies[step.agency].is_probe:
        fact = fact.model_copy(update={"count": "none"})
    return offered, (fact,)


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
