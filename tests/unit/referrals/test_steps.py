"""Single steps: deadlines on the arbiter's clock, codes, withdrawal, and what a stranger learns."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.events.governance import document_hash
from schemas.events.life_cycle import ASKER, State, Verb, allowed_steps
from schemas.events.referral import STEPS, OfferReferral, StepBase
from schemas.wire.body import lists_of
from services.referrals.domain import referral as clock_rules
from services.referrals.domain import steps
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Outcome, Referral
from tests.support.builders import (
    OWNER,
    RECEIVER,
    SECONDS,
    STRANGER,
    a_protocol,
    a_referral,
    a_step,
    an_agency,
    an_offer,
    asked,
    in_force,
)
from tests.support.clock import NOON

# Any: where no outcome, referral or refusal is, a test fails by itself.
decide: Any = steps.decide


def due(referral: Referral, at: datetime) -> Any:
    return clock_rules.due(referral, a_protocol(), at=at)


ANSWER_BY = NOON + timedelta(hours=1)
ACKNOWLEDGE_BY = NOON + timedelta(minutes=15)


def answered(referral: Referral, verb: str, agency: str = RECEIVER, **rest: object) -> Any:
    at = rest.pop("at", NOON)
    return decide(referral, asked(a_step(verb, agency, **rest)), in_force(), at=at)  # type: ignore[arg-type]


def code_of(outcome: Outcome) -> str | None:
    return outcome.refusal.fact.code if outcome.refusal else None


@pytest.mark.parametrize("state", [State.OFFERED, State.ACKNOWLEDGED])
@pytest.mark.parametrize("verb", ["acknowledge", "accept", "decline"])
def test_an_answer_after_the_deadline_expires_the_referral_and_is_too_late(state: State, verb: str) -> None:
    outcome = answered(a_referral(state), verb, at=ANSWER_BY)

    assert outcome.referral.state == "expired"
    assert [fact.type for fact in outcome.facts] == ["referral.expired"]
    assert code_of(outcome) == "too_late"
    assert (outcome.refusal.fact.asked, outcome.refusal.fact.state) == (verb, "expired")
    assert outcome.refusal.is_numbered


@pytest.mark.parametrize(("verb", "state"), [("withdraw", "withdrawn"), ("cancel", "cancelled")])
def test_withdrawal_and_cancellation_win_over_a_deadline_that_nobody_saw(verb: str, state: str) -> None:
    outcome = answered(a_referral(), verb, OWNER, at=ANSWER_BY + timedelta(days=3))

    assert code_of(outcome) is None
    assert outcome.referral.state == state


def test_a_late_stranger_moves_nothing() -> None:
    referral = a_referral()

    outcome = answered(referral, "accept", STRANGER, at=ANSWER_BY)

    assert outcome.referral is referral
    assert code_of(outcome) == "not_a_party"


def test_a_stranger_learns_no_more_than_of_an_id_that_does_not_exist() -> None:
    step = asked(a_step("accept", STRANGER))

    known = decide(a_referral(State.ACCEPTED), step, in_force(), at=NOON)
    unknown = decide(None, step, in_force(), at=NOON)

    assert known.refusal == unknown.refusal
    assert known.refusal.fact.state is known.refusal.fact.protocol is None
    assert (known.refusal.agency, known.refusal.sector) == (STRANGER, "police")


def test_a_sector_speaks_for_its_own_agencies_only() -> None:
    referral = a_referral()
    step = asked(a_step("accept", RECEIVER), sector="police")

    outcome = decide(referral, step, in_force(), at=NOON)

    assert outcome.referral is referral
    assert code_of(outcome) == "not_a_party"
    assert outcome.refusal.sector == "police"
    assert outcome.refusal.fact.state is None
    assert not outcome.refusal.is_numbered, "a forged step leaves no hole in the true agency's numbers"


@pytest.mark.parametrize("step", [an_offer(agency="new-clinic"), a_step("accept", "new-clinic")])
@pytest.mark.parametrize("referral", [None, a_referral()])
def test_an_agency_not_heard_of_yet_is_refused_under_its_own_number(
    step: StepBase, referral: Referral | None
) -> None:
    outcome = decide(referral, asked(step, sector="health"), in_force(), at=NOON)

    assert outcome.referral is referral
    assert code_of(outcome) == "agency_inactive"
    assert outcome.refusal.is_numbered, "its sector has taken the step and waits for number 1"
    assert outcome.refusal.fact.state is None


def suspended(agency: str) -> InForce:
    return in_force(
        agencies=[
            an_agency(name, status="suspended" if name == agency else "active") for name in (OWNER, RECEIVER)
        ]
    )


REFUSED_TO_SUSPENDED = [
    (State.OFFERED, "acknowledge", RECEIVER),
    (State.OFFERED, "accept", RECEIVER),
    (State.OFFERED, "decline", RECEIVER),
    (State.ACCEPTED, "start", RECEIVER),
    (State.IN_SERVICE, "provide", RECEIVER),
    (State.PROVIDED, "give_feedback", RECEIVER),
    (State.FEEDBACK_GIVEN, "close", OWNER),
]


@pytest.mark.parametrize(("state", "verb", "agency"), REFUSED_TO_SUSPENDED)
def test_a_suspended_agency_moves_nothing(state: State, verb: str, agency: str) -> None:
    referral, step = a_referral(state), asked(a_step(verb, agency))

    outcome = decide(referral, step, suspended(agency), at=NOON)

    assert outcome.referral is referral
    assert code_of(outcome) == "agency_inactive"
    assert code_of(decide(referral, step, in_force(), at=NOON)) is None, "the same step by an active agency"


@pytest.mark.parametrize(
    ("state", "verb", "agency", "following"),
    [
        (State.IN_SERVICE, "withdraw", OWNER, "withdrawn"),
        (State.ACCEPTED, "cancel", OWNER, "cancelled"),
        (State.WITHDRAWN, "confirm_sealed", RECEIVER, "sealed"),
    ],
)
def test_what_protects_her_passes_although_the_agency_is_suspended(
    state: State, verb: str, agency: str, following: str
) -> None:
    outcome = decide(a_referral(state), asked(a_step(verb, agency)), suspended(agency), at=NOON)

    assert outcome.referral.state == following


CODED = [
    (Verb(kind.removeprefix("referral.")), field)
    for kind, step in STEPS.items()
    for field in lists_of(step)
    if step is not OfferReferral
]
"""Every step that moves a referral on, with each of its fields that carries codes; offers: `test_gate.py`."""


@pytest.mark.parametrize(("verb", "field"), CODED)
def test_a_code_that_no_list_has_is_refused(verb: Verb, field: str) -> None:
    role, referrals = ASKER[verb], map(a_referral, State)
    referral = next(one for one in referrals if verb in allowed_steps(role, one.circumstances(NOON)))
    agency = OWNER if role == "owner" else RECEIVER
    wrong = ("she_lies",) if field.endswith("needs") else "she_lies"

    outcome = answered(referral, verb, agency, **{field: wrong})

    assert code_of(outcome) == "unknown_code"
    assert outcome.referral is referral


def test_a_withdrawal_names_the_time_by_which_copies_are_sealed() -> None:
    outcome = answered(a_referral(State.IN_SERVICE), "withdraw", OWNER)

    fact = outcome.facts[0]
    assert fact.model_dump(include={"stop_contact", "seal_by_at", "state"}) == {
        "stop_contact": True,
        "seal_by_at": NOON + timedelta(days=1),
        "state": "withdrawn",
    }


@pytest.mark.parametrize("state", [State.CANCELLED, State.CLOSED])
def test_after_the_end_a_withdrawal_only_brings_the_sealing_forward_and_once(state: State) -> None:
    first = answered(a_referral(state), "withdraw", OWNER)
    again = answered(first.referral, "withdraw", OWNER, at=NOON + timedelta(hours=5))
    sealed = answered(first.referral, "confirm_sealed")

    assert first.referral.state == state
    assert first.referral.seal_by_at == NOON + timedelta(days=1)
    assert code_of(again) == "withdrawn"
    assert sealed.referral.state == "sealed"


def test_a_confirmed_seal_is_two_facts() -> None:
    outcome = answered(a_referral(State.WITHDRAWN), "confirm_sealed")

    assert [(fact.type, fact.state) for fact in outcome.facts] == [
        ("referral.seal_confirmed", "withdrawn"),
        ("referral.sealed", "sealed"),
    ]


def test_an_offered_referral_is_reminded_of_ever_more_seldom_then_expires() -> None:
    referral = a_referral()
    assert due(referral, at=ACKNOWLEDGE_BY - timedelta(microseconds=1)) is None

    reminded = due(referral, at=ACKNOWLEDGE_BY)
    assert [fact.type for fact in reminded.facts] == ["referral.reminded"]
    assert reminded.referral.state == "offered"
    assert due(reminded.referral, at=NOON + timedelta(minutes=29)) is None

    again = due(reminded.referral, at=NOON + timedelta(minutes=30))
    assert [fact.type for fact in again.facts] == ["referral.reminded"]
    assert due(again.referral, at=ANSWER_BY - timedelta(microseconds=1)) is None

    expired = due(again.referral, at=ANSWER_BY)
    assert [fact.type for fact in expired.facts] == ["referral.expired"]
    assert expired.caused_by is None


def test_an_acknowledged_referral_is_not_reminded_of() -> None:
    assert due(a_referral(State.ACKNOWLEDGED), at=ACKNOWLEDGE_BY) is None


def test_the_protocol_of_the_offer_governs_what_follows() -> None:
    old = a_protocol()
    new = a_protocol(version=2, timers={**SECONDS, "seal": dict.fromkeys(SECONDS["seal"], 60)})
    known = in_force(protocols=[new, old])
    referral = a_referral(State.ACCEPTED, protocol=document_hash(old))

    outcome = decide(referral, asked(a_step("withdraw", OWNER)), known, at=NOON)

    assert outcome.referral.seal_by_at == NOON + timedelta(days=1)
    assert outcome.facts[0].protocol == document_hash(old)


def test_a_lapsed_protocol_does_not_stop_a_live_referral_nor_a_suspended_receiver_its_owner() -> None:
    known = in_force(protocols=[a_protocol(valid_until=NOON)])
    alone = in_force(
        agencies=[an_agency(OWNER), an_agency(RECEIVER, status="suspended")],
        protocols=[a_protocol(valid_until=NOON)],
    )
    referral = a_referral(protocol=known.current[0])

    accepted = decide(referral, asked(a_step("accept")), known, at=NOON)
    withdrawn = decide(referral, asked(a_step("withdraw", OWNER)), alone, at=NOON)

    assert code_of(accepted) is code_of(withdrawn) is None
