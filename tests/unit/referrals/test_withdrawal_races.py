"""Harm 7, a withdrawal that loses a race, the arbiter's half: every order of what can meet it."""

from itertools import permutations

import pytest

from schemas.events.life_cycle import NEXT, State, Verb
from services.referrals.domain.referral import Referral
from services.referrals.domain.steps import decide
from tests.support.builders import OWNER, RECEIVER, a_step, an_offer, asked, in_force
from tests.support.clock import NOON

RACING = (("cancel", OWNER), ("withdraw", OWNER), *((verb, RECEIVER) for verb in (
    "accept", "decline", "start", "provide",
)))  # fmt: skip
STEPS = [asked(an_offer()), *(asked(a_step(verb, agency)) for verb, agency in RACING)]
ORDERS = list(permutations(STEPS))  # 5,040
IN_FORCE = in_force()


def lost_races() -> int:
    """In how many orders the withdrawal was refused, or something happened to the referral after it."""
    lost = 0
    for order in ORDERS:
        referral: Referral | None = None
        is_withdrawn = is_lost = False
        for step in order:
            outcome = decide(referral, step, IN_FORCE, at=NOON)
            is_lost |= is_withdrawn and bool(outcome.facts)
            if step.body.type == "referral.withdraw":
                is_withdrawn = True
                is_lost |= outcome.refusal is not None
            referral = outcome.referral
        lost += is_lost or referral is None or referral.seal_by_at is None
    return lost


def test_harm_7_in_each_of_5_040_orders_nothing_happens_after_her_withdrawal() -> None:
    assert len(ORDERS) == 5_040
    assert lost_races() == 0


def test_harm_7_it_loses_races_where_an_answer_leads_out_of_her_withdrawal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(NEXT, (State.WITHDRAWN, Verb.ACCEPT), State.ACCEPTED)

    assert lost_races() > 0
