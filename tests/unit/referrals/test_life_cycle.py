"""Every state × every step × every sender, against a table written here by hand."""

import random
from datetime import datetime, timedelta
from itertools import product
from typing import Any, get_args

import pytest

from schemas.events.referral import AWAITS, REFUSALS, STEPS, PartyName
from services.referrals.domain import refusals
from services.referrals.domain.life_cycle import (
    ANSWERS,
    ASKER,
    NEXT,
    TERMINAL,
    State,
    Verb,
    diagram,
)
from services.referrals.domain.referral import Outcome, Referral, due
from services.referrals.domain.steps import decide
from services.runtime.errors import Refused
from tests.support.builders import (
    OWNER,
    RECEIVER,
    STRANGER,
    a_referral,
    a_step,
    an_offer,
    asked,
    in_force,
)
from tests.support.clock import NOON, StoppedClock
from tests.support.shared import REPOSITORY

MOVES = """
(none)          owner     offer           offered
offered         receiver  acknowledge     acknowledged
offered         receiver  accept          accepted
offered         receiver  decline         declined
offered         owner     cancel          cancelled
offered         owner     withdraw        withdrawn
acknowledged    receiver  accept          accepted
acknowledged    receiver  decline         declined
acknowledged    owner     cancel          cancelled
acknowledged    owner     withdraw        withdrawn
accepted        receiver  start           in_service
accepted        owner     cancel          cancelled
accepted        owner     withdraw        withdrawn
in_service      receiver  provide         provided
in_service      owner     withdraw        withdrawn
provided        receiver  give_feedback   feedback_given
provided        owner     withdraw        withdrawn
feedback_given  owner     close           closed
feedback_given  owner     withdraw        withdrawn
declined        owner     withdraw        withdrawn
expired         owner     withdraw        withdrawn
cancelled       owner     withdraw        cancelled
cancelled       receiver  confirm_sealed  sealed
withdrawn       receiver  confirm_sealed  sealed
closed          owner     withdraw        closed
closed          receiver  confirm_sealed  sealed
"""
"""What moves where her consent allows feedback; the clock's two moves stand in their own test."""

MAY_ASK = {
    "owner": {"offer", "close", "cancel", "withdraw"},
    "receiver": {"acknowledge", "accept", "decline", "start", "provide", "give_feedback", "confirm_sealed"},
    "stranger": set(),
}
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
    if state == "withdrawn":
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
        if (state, sender, step) in (("(none)", "receiver", "offer"), ("(none)", "stranger", "offer")):
            continue  # whoever offers becomes the owner
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

    assert len(cells) == 13 * 3 * 11
    assert sum(1 for code in cells.values() if code.startswith("to ")) == 26


def test_without_leave_for_feedback_the_owner_closes_at_once_and_no_feedback_passes() -> None:
    provided = a_referral(State.PROVIDED, feedback_allowed=False)

    closed: Any = decide(provided, asked(a_step("close", OWNER)), in_force(), at=NOON)
    feedback: Any = decide(provided, asked(a_step("give_feedback")), in_force(), at=NOON)

    assert closed.referral.state == "closed"
    assert provided.awaits() == (OWNER, "intake")
    assert feedback.refusal.fact.code == "consent_does_not_cover"


@pytest.mark.parametrize("state", list(State))
def test_the_clock_expires_what_waits_for_an_answer_and_nothing_else(state: State) -> None:
    late: Any = due(a_referral(state), at=NOON.replace(hour=14))

    if state in ("offered", "acknowledged"):
        assert (late.referral.state, [fact.type for fact in late.facts]) == ("expired", ["referral.expired"])
    else:
        assert late is None


def test_states_steps_and_facts_are_those_of_the_contract() -> None:
    assert {str(verb) for verb in Verb} - {"expire"} == set(STEP_NAMES) == {str(verb) for verb in ASKER}
    assert set(AWAITS) == {str(state) for state in State}
    assert set(AWAITS.values()) == {*get_args(PartyName), None}
    assert {state for state, _ in NEXT if state} | TERMINAL == set(State)
    assert Verb.EXPIRE not in ANSWERS
    assert {one.code for one in Refused.__subclasses__() if one.__module__ == refusals.__name__} == REFUSALS


def test_the_readme_shows_the_table_as_the_diagram_that_the_command_prints() -> None:
    shown = (REPOSITORY / "README.md").read_text("utf-8").partition("```mermaid\n")[2].partition("\n```")[0]

    assert shown == diagram()
    assert diagram().count("-->") == len(NEXT) + 1


@pytest.mark.parametrize("seed", range(60))
def test_random_histories_keep_the_invariants(seed: int) -> None:
    print(f"seed {seed}")
    chance, clock = random.Random(seed), StoppedClock()
    referral: Referral | None = None
    history: list[str] = []

    for _ in range(60):
        at = clock.forward(timedelta(minutes=chance.randrange(12)))
        before, outcome, step, agency = referral, *one_move(chance, referral, at)
        check(before, outcome, agency, step)
        history += [fact.type.removeprefix("referral.") for fact in outcome.facts]
        referral = outcome.referral

    assert history[:1] in ([], ["offered"])
    assert max(history.count(name) for name in ("offered", "sealed", "reminded")) <= 1
    ended = [history.index(name) for name in ("cancelled", "withdrawn") if name in history]
    assert "provided" not in history[min(ended, default=99) :], "an end never marks a service delivered"


def one_move(chance: random.Random, referral: Referral | None, at: datetime) -> tuple[Outcome, str, str]:
    """The clock, or a step by anybody, sometimes sent through a sector that does not speak for the asker."""
    if referral and chance.random() < 0.15:
        return due(referral, at=at) or Outcome(referral, (), at), "(clock)", ""
    step, agency = chance.choice(STEP_NAMES), chance.choice(list(SENDERS.values()))
    body = an_offer() if step == "offer" else a_step(step, agency)
    sector = chance.choice(["health", "police"]) if chance.random() < 0.1 else None
    return decide(referral, asked(body, sector=sector), in_force(), at=at), step, body.agency


def check(before: Referral | None, outcome: Outcome, agency: str, step: str) -> None:
    """One move: facts where something changed, silence where nothing did, and no way back from an end."""
    now = outcome.referral
    if now is before:
        assert not outcome.facts
        return
    assert now is not None
    assert outcome.facts
    if before is None:
        return
    assert now.version == before.version + 1
    assert (now.owner, now.receiver) == (before.owner, before.receiver)
    assert before.state not in TERMINAL or now.state in (before.state, "sealed")
    assert before.state != "withdrawn" or step == "confirm_sealed"
    assert step == "(clock)" or agency in (now.owner, now.receiver)
    if step == "withdraw" and before.state not in TERMINAL:
        assert now.state == "withdrawn", "withdrawal wins from every state that is not an end"
