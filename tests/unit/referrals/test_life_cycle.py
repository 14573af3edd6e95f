"""Every state × every step × every sender, against a table written here by hand."""

from datetime import timedelta
from itertools import product
from typing import Any, get_args

import pytest

from schemas.events.codes import REFUSALS
from schemas.events.facts import AWAITS
from schemas.events.life_cycle import ANSWERS, ASKER, NEXT, TERMINAL, PartyName, State, Verb, allowed_steps
from schemas.events.referral import STEPS
from services.referrals.domain import refusals
from services.referrals.domain.life_cycle import CLOCKS, diagram
from services.referrals.domain.referral import Referral, due
from services.referrals.domain.steps import decide
from services.runtime.errors import Refused
from tests.support.builders import (
    OWNER,
    RECEIVER,
    STRANGER,
    a_protocol,
    a_referral,
    a_step,
    an_offer,
    asked,
    in_force,
)
from tests.support.clock import NOON
from tests.support.shared import REPOSITORY

MOVES = """
(none)          owner    offer            offered
(none)          owner    withdraw         withdrawn
(none)          owner    order_erasure    withdrawn
offered         receiver acknowledge      acknowledged
offered         receiver accept           accepted
offered         receiver decline          declined
offered         owner    cancel           cancelled
offered         owner    withdraw         withdrawn
offered         owner    order_erasure    withdrawn
offered         owner    narrow_consent   offered
offered         owner    report_break_glass offered
acknowledged    receiver accept           accepted
acknowledged    receiver decline          declined
acknowledged    owner    cancel           cancelled
acknowledged    owner    withdraw         withdrawn
acknowledged    owner    order_erasure    withdrawn
acknowledged    owner    narrow_consent   acknowledged
acknowledged    owner    report_break_glass acknowledged
accepted        receiver start            in_service
accepted        receiver not_provide      not_provided
accepted        receiver unable_to_reach  unable_to_reach
accepted        owner    cancel           cancelled
accepted        owner    withdraw         withdrawn
accepted        owner    order_erasure    withdrawn
accepted        owner    narrow_consent   accepted
accepted        owner    report_break_glass accepted
in_service      receiver provide          provided
in_service      receiver not_provide      not_provided
in_service      receiver unable_to_reach  unable_to_reach
in_service      owner    withdraw         withdrawn
in_service      owner    order_erasure    withdrawn
in_service      owner    narrow_consent   in_service
in_service      owner    report_break_glass in_service
provided        receiver give_feedback    feedback_given
provided        owner    withdraw         withdrawn
provided        owner    order_erasure    withdrawn
provided        owner    narrow_consent   provided
provided        owner    report_break_glass provided
feedback_given  owner    close            closed
feedback_given  owner    withdraw         withdrawn
feedback_given  owner    order_erasure    withdrawn
feedback_given  owner    narrow_consent   feedback_given
feedback_given  owner    report_break_glass feedback_given
declined        owner    redirect         redirected
declined        owner    close_unmet      closed_unmet
declined        owner    withdraw         withdrawn
declined        owner    order_erasure    withdrawn
declined        owner    narrow_consent   declined
declined        owner    report_break_glass declined
expired         owner    redirect         redirected
expired         owner    close_unmet      closed_unmet
expired         owner    withdraw         withdrawn
expired         owner    order_erasure    withdrawn
expired         owner    narrow_consent   expired
expired         owner    report_break_glass expired
not_provided    owner    redirect         redirected
not_provided    owner    reoffer          offered
not_provided    owner    close_unmet      closed_unmet
not_provided    owner    withdraw         withdrawn
not_provided    owner    order_erasure    withdrawn
not_provided    owner    narrow_consent   not_provided
not_provided    owner    report_break_glass not_provided
unable_to_reach owner    redirect         redirected
unable_to_reach owner    reoffer          offered
unable_to_reach owner    close_unmet      closed_unmet
unable_to_reach owner    withdraw         withdrawn
unable_to_reach owner    order_erasure    withdrawn
unable_to_reach owner    narrow_consent   unable_to_reach
unable_to_reach owner    report_break_glass unable_to_reach
redirected      owner    withdraw         redirected
redirected      owner    order_erasure    redirected
redirected      receiver confirm_sealed   sealed
redirected      owner    report_break_glass redirected
cancelled       owner    withdraw         cancelled
cancelled       owner    order_erasure    cancelled
cancelled       receiver confirm_sealed   sealed
cancelled       owner    report_break_glass cancelled
closed          owner    withdraw         closed
closed          owner    order_erasure    closed
closed          receiver confirm_sealed   sealed
closed          owner    report_break_glass closed
closed_unmet    owner    withdraw         closed_unmet
closed_unmet    owner    order_erasure    closed_unmet
closed_unmet    receiver confirm_sealed   sealed
closed_unmet    owner    report_break_glass closed_unmet
withdrawn       owner    order_erasure    withdrawn
withdrawn       receiver confirm_sealed   sealed
withdrawn       owner    report_break_glass withdrawn
sealed          owner    order_erasure    sealed
sealed          owner    report_break_glass sealed
"""
"""What moves where her consent allows feedback, and nothing is to be narrowed or erased.

The clock's moves, and what those conditions change, stand in tests of their own.
"""

MAY_ASK = {
    "owner": {"offer", "redirect", "reoffer", "close", "close_unmet", "cancel", "withdraw", "narrow_consent",
              "order_erasure", "report_break_glass"},
    "receiver": {"acknowledge", "accept", "decline", "start", "provide", "not_provide", "unable_to_reach",
                 "give_feedback", "confirm_sealed", "confirm_narrowed", "confirm_erased"},
    "stranger": set(),
}  # fmt: skip
SENDERS = {"owner": OWNER, "receiver": RECEIVER, "stranger": STRANGER}
STEP_NAMES = sorted(name.removeprefix("referral.") for name in STEPS)
STATES = ["(none)", *(str(state) for state in State)]


def expected() -> dict[tuple[str, str, str], str]:
    """State, sender, step → the state that follows, or the code of the refusal."""
    rows = [line.split() for line in MOVES.strip().splitlines()]
    moves = {(state, sender, step): f"to {following}" for state, sender, step, following in rows}
    return {
        (state, sender, step): moves.get((state, sender, step)) or refusal(state, sender, step)
        for state, sender, step in product(STATES, SENDERS, STEP_NAMES)
    }


def refusal(state: str, sender: str, step: str) -> str:
    """The code under which a step that moves nothing is refused."""
    if state == "(none)" or step not in MAY_ASK[sender]:
        return "not_a_party"
    if state == "withdrawn" and step != "confirm_erased":
        return "withdrawn"
    if state == "expired" and step in ("acknowledge", "accept", "decline"):
        return "too_late"
    return "wrong_state"


def answer(state: str, sender: str, step: str, referral: Referral | None) -> Any:
    """What the arbiter says, five minutes after noon."""
    body = an_offer(agency=SENDERS[sender]) if step == "offer" else a_step(step, SENDERS[sender])
    return decide(referral, asked(body), in_force(), at=NOON)


@pytest.mark.parametrize("state", STATES)
def test_every_step_in_every_state_by_every_sender_has_its_one_answer(state: str) -> None:
    table = expected()

    for sender, step in product(SENDERS, STEP_NAMES):
        if state == "(none)" and sender != "owner" and step in ("offer", "withdraw", "order_erasure"):
            continue  # whoever offers, or stops what is not there yet, becomes the owner
        before = None if state == "(none)" else a_referral(State(state))
        outcome = answer(state, sender, step, before)
        if outcome.refusal:
            assert outcome.referral is before, (state, sender, step)
            assert not outcome.facts, (state, sender, step)
            assert outcome.refusal.fact.code == table[state, sender, step], (state, sender, step)
        else:
            assert outcome.facts, "no state changes without a fact"
            assert f"to {outcome.referral.state}" == table[state, sender, step], (state, sender, step)


def test_the_table_has_a_cell_for_each_state_sender_and_step() -> None:
    cells = expected()

    assert len(cells) == 17 * 3 * 21
    assert sum(1 for code in cells.values() if code.startswith("to ")) == 90


def test_without_leave_for_feedback_the_owner_closes_at_once_and_no_feedback_passes() -> None:
    provided = a_referral(State.PROVIDED, feedback_allowed=False)

    closed: Any = decide(provided, asked(a_step("close", OWNER)), in_force(), at=NOON)
    feedback: Any = decide(provided, asked(a_step("give_feedback")), in_force(), at=NOON)

    assert closed.referral.state == "closed"
    assert provided.awaits() == (OWNER, "intake")
    assert feedback.refusal.fact.code == "consent_does_not_cover"


@pytest.mark.parametrize("state", list(State))
def test_the_clock_moves_what_waits_for_an_answer_or_for_more_words_and_reminds_of_the_rest(
    state: State,
) -> None:
    late: Any = due(a_referral(state), a_protocol(), at=NOON + timedelta(days=31))

    if state in ("offered", "acknowledged"):
        assert (late.referral.state, [fact.type for fact in late.facts]) == ("expired", ["referral.expired"])
    elif state == "feedback_given":
        assert (late.referral.state, late.facts[0].reason, late.facts[0].met) == (
            "closed",
            "silence",
            "missed",
        )
    elif state == "sealed":
        assert late is None
    else:
        kind = "referral.seal_overdue" if state in TERMINAL else "referral.reminded"
        assert (late.referral.state, [fact.type for fact in late.facts]) == (state, [kind])


@pytest.mark.parametrize("state", list(State))
def test_whoever_must_act_is_allowed_to(state: State) -> None:
    referral = a_referral(state)
    parties: tuple[PartyName, ...] = get_args(PartyName)
    allowed = {party: allowed_steps(party, referral.circumstances(NOON)) for party in parties}

    assert state == "sealed" or allowed[AWAITS[state] or "owner"]
    assert not allowed["receiver"] or ASKER[Verb(allowed["receiver"][0])] == "receiver"
    for party, step in product(parties, STEP_NAMES):
        if step != "offer":
            body = a_step(step, SENDERS[party])
            refusal = decide(referral, asked(body), in_force(), at=NOON).refusal
            assert (step in allowed[party]) is (refusal is None), (party, step)


def test_states_steps_and_facts_are_those_of_the_contract() -> None:
    assert {str(verb) for verb in Verb} - {"expire"} == set(STEP_NAMES) == {str(verb) for verb in ASKER}
    assert set(AWAITS) == {str(state) for state in State}
    assert set(AWAITS.values()) == {*get_args(PartyName), None}
    assert {state for state, _ in NEXT if state} | TERMINAL == set(State)
    assert set().union(*(clock.runs_in for clock in CLOCKS.values())) == set(State) - {State.SEALED}
    assert Verb.EXPIRE not in ANSWERS
    assert {one.code for one in Refused.__subclasses__() if one.__module__ == refusals.__name__} == REFUSALS


def test_the_readme_shows_the_table_as_the_diagram_that_the_command_prints() -> None:
    shown = (REPOSITORY / "README.md").read_text("utf-8").partition("```mermaid\n")[2].partition("\n```")[0]

    assert shown == diagram()
    assert diagram().count("-->") == sum(state != following for (state, _), following in NEXT.items()) + 1
