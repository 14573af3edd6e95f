"""A view is the fold of the facts that were addressed to one party, in their order and without a gap."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from schemas.events.facts import (
    AWAITS,
    FactBase,
    ReferralAccepted,
    ReferralClosed,
    ReferralOffered,
    ReferralSealed,
    ReferralWithdrawn,
    SealConfirmed,
    ServiceProvided,
    StepRefused,
    awaited,
)
from services.runtime.errors import Invalid
from services.sector.domain.views import FACTS_KEPT_MAX, ReferralView, thin_event, with_fact
from tests.support.builders import OWNER, RECEIVER, REFERRAL, an_id
from tests.support.clock import NOON

HASH = "a" * 64


def offered(to: str = RECEIVER, number: int = 1, **changes: Any) -> ReferralOffered:
    content = {
        "referral": REFERRAL,
        "to": to,
        "number": number,
        "state": "offered",
        "protocol": HASH,
        "owner": OWNER,
        "receiver": RECEIVER,
        "needs": ("medical_care",),
        "feedback_allowed": True,
    }
    return ReferralOffered.model_validate(content | changes)


def accepted(number: int = 2, to: str = RECEIVER) -> ReferralAccepted:
    return ReferralAccepted(referral=REFERRAL, to=to, number=number, state="accepted", appointment="today")


def own_view() -> ReferralView:
    return ReferralView(REFERRAL, OWNER, "owner", case=an_id("case", 1), updated_at=NOON)


def folded(view: ReferralView | None, *facts: FactBase, at: datetime = NOON) -> ReferralView:
    for fact in facts:
        view = with_fact(view, fact, at=at)
        assert view is not None
    assert view is not None
    return view


def test_the_first_offer_makes_the_receivers_view() -> None:
    view = folded(None, offered())

    assert (view.role, view.state, view.number, view.protocol) == ("receiver", "offered", 1, HASH)
    assert view.offer is not None
    assert view.offer["needs"] == ["medical_care"]
    assert view.case is None


def test_the_owners_view_keeps_its_case_through_every_fact() -> None:
    view = folded(own_view(), offered(OWNER), accepted(to=OWNER))

    assert (view.role, view.state, view.number, view.case) == ("owner", "accepted", 2, an_id("case", 1))


def test_a_repeated_fact_changes_nothing() -> None:
    view = folded(None, offered(), accepted())

    assert with_fact(view, accepted(), at=NOON) is None
    assert with_fact(view, offered(), at=NOON) is None


def test_a_gap_is_loud() -> None:
    with pytest.raises(Invalid) as refused:
        with_fact(folded(None, offered()), accepted(number=3), at=NOON)

    assert (refused.value.reason, refused.value.path) == ("schema_mismatch", "/number")


@pytest.mark.parametrize("fact", [accepted(number=1), offered(receiver=OWNER), offered(to=OWNER)])
def test_a_stray_fact_on_an_unknown_referral_is_invalid(fact: FactBase) -> None:
    with pytest.raises(Invalid):
        with_fact(None, fact, at=NOON)


@pytest.mark.parametrize("missing", ["to", "number"])
def test_a_fact_without_addressee_or_number_is_invalid(missing: str) -> None:
    with pytest.raises(Invalid) as refused:
        with_fact(own_view(), accepted().model_copy(update={missing: None}), at=NOON)

    assert refused.value.path == f"/{missing}"


def test_a_refused_step_moves_the_number_but_not_the_state() -> None:
    refused = StepRefused(
        referral=REFERRAL, to=RECEIVER, number=2, step=an_id("event", 1), asked="start", code="wrong_state"
    )

    view = folded(None, offered(), refused)

    assert (view.state, view.number) == ("offered", 2)
    assert view.facts[-1]["code"] == "wrong_state"


@pytest.mark.parametrize("state", ["withdrawn", "sealed"])
def test_once_releases_stop_the_receiver_no_longer_has_what_was_offered(state: str) -> None:
    fact = (
        ReferralWithdrawn(
            referral=REFERRAL, to=RECEIVER, number=2, state=state, stop_contact=True, seal_by_at=NOON
        )
        if state == "withdrawn"
        else ReferralSealed(referral=REFERRAL, to=RECEIVER, number=2, state=state)
    )

    assert folded(None, offered(), fact).offer is None
    assert folded(own_view(), offered(OWNER), fact.model_copy(update={"to": OWNER})).offer is not None


@pytest.mark.parametrize("state", ["closed", "cancelled"])
def test_a_withdrawal_after_the_end_takes_the_offer_from_the_receiver_for_good(state: str) -> None:
    told = {"referral": REFERRAL, "to": RECEIVER, "state": state}
    ended = ReferralClosed(**told, number=2, reason="needs_met")
    withdrawn = ReferralWithdrawn(**told, number=3, stop_contact=True, seal_by_at=NOON)
    confirmed = SealConfirmed(**told, number=4, method="nothing_held")

    before = folded(None, offered(), ended)
    after = folded(before, withdrawn)

    assert before.offer is not None
    assert (after.state, after.offer) == (state, None)
    assert folded(after, confirmed).offer is None


def test_what_was_offered_stands_in_the_view_once_and_not_in_its_facts() -> None:
    assert folded(None, offered()).facts[0].keys() == {"type", "at", "number", "state"}


def test_a_view_keeps_only_the_last_facts() -> None:
    many = [accepted(number=number) for number in range(2, FACTS_KEPT_MAX + 10)]

    view = folded(None, offered(), *many)

    assert len(view.facts) == FACTS_KEPT_MAX
    assert all(later["number"] == earlier["number"] + 1 for earlier, later in pairwise(view.facts))


def test_a_feed_event_is_thin_and_its_time_is_cut_to_the_minute() -> None:
    event = thin_event(offered(), at=NOON + timedelta(seconds=59, microseconds=3))

    assert (event.type, event.referral, event.number, event.state) == (
        "referral.offered",
        REFERRAL,
        1,
        "offered",
    )
    assert event.at == NOON
    assert (event.code, event.step) == (None, None)


def test_a_feed_event_of_a_refused_step_names_step_and_code() -> None:
    step = an_id("event", 2)
    fact = StepRefused(referral=REFERRAL, to=OWNER, number=1, step=step, asked="offer", code="entry_stale")

    event = thin_event(fact, at=NOON)

    assert (event.code, event.step, event.state) == ("entry_stale", step, None)


EXPECTED = {
    "offered": "receiver",
    "acknowledged": "receiver",
    "accepted": "receiver",
    "in_service": "receiver",
    "provided": "receiver",
    "feedback_given": "owner",
    "declined": "owner",
    "expired": "owner",
    "not_provided": "owner",
    "unable_to_reach": "owner",
    "redirected": "receiver",
    "closed_unmet": "receiver",
    "withdrawn": "receiver",
    "cancelled": "receiver",
    "closed": "receiver",
    "sealed": None,
}


@pytest.mark.parametrize("state", [*AWAITS, "added_later"])
def test_every_state_says_who_must_act(state: str) -> None:
    assert awaited(state, feedback_allowed=True) == EXPECTED.get(state)


def test_without_feedback_the_owner_acts_once_the_service_was_given() -> None:
    assert awaited("provided", feedback_allowed=False) == "owner"
    assert awaited("in_service", feedback_allowed=False) == "receiver"


def test_before_the_arbiter_has_answered_nobody_is_awaited() -> None:
    assert not own_view().is_awaited


def test_a_view_awaits_one_party_alone() -> None:
    provided = ServiceProvided(
        referral=REFERRAL, to=RECEIVER, number=2, state="provided", outcome="completed"
    )

    receiver = folded(None, offered(), provided)
    owner = folded(own_view(), offered(OWNER), provided.model_copy(update={"to": OWNER}))

    assert (receiver.is_awaited, owner.is_awaited) == (True, False)
