"""Where nobody helps: redirections, reoffers, and what she narrows or has erased meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas.events.life_cycle import State
from schemas.events.referral import OrderErasure, WithdrawReferral
from services.referrals.domain import steps
from services.referrals.domain.referral import Referral, due
from services.referrals.subscriptions import SUBSCRIPTIONS
from tests.support.builders import (
    OWNER,
    RECEIVER,
    REFERRAL,
    SUCCESSOR,
    a_consent,
    a_protocol,
    a_referral,
    a_step,
    an_agency,
    an_entry,
    an_offer,
    asked,
    in_force,
)
from tests.support.clock import NOON

# Any: where no outcome, referral or refusal is, a test fails by itself.
decide: Any = steps.decide


def answered(referral: Referral | None, verb: str, agency: str = OWNER, **rest: Any) -> Any:
    known, at = rest.pop("known", in_force()), rest.pop("at", NOON)
    successor = rest.pop("found", None)
    return decide(referral, asked(a_step(verb, agency, **rest)), known, at=at, successor=successor)


def code_of(outcome: Any) -> str | None:
    return outcome.refusal.fact.code if outcome.refusal else None


def test_a_redirection_ends_one_referral_and_offers_the_next_one_hop_on() -> None:
    outcome = answered(a_referral(State.DECLINED, hop=2), "redirect", count="first")

    new = outcome.successor.referral
    assert (outcome.referral.state, new.id, new.state, new.hop) == ("redirected", SUCCESSOR, "offered", 3)
    told = outcome.facts[0]
    assert (told.successor, told.hop, told.met) == (SUCCESSOR, 3, "met")
    [offered] = outcome.successor.facts
    assert (offered.owner, offered.hop, offered.count) == (OWNER, 3, "first")
    assert outcome.successor.caused_by is None, "nothing that both receivers see joins the two"


@pytest.mark.parametrize("probe", [OWNER, RECEIVER])
def test_a_probe_is_counted_nowhere(probe: str) -> None:
    known = in_force()
    agencies = {name: replace(one, is_probe=name == probe) for name, one in known.agencies.items()}

    [counted] = decide(None, asked(an_offer(count="first")), known, at=NOON).facts
    [probed] = decide(None, asked(an_offer(count="first")), replace(known, agencies=agencies), at=NOON).facts

    assert (counted.count, probed.count) == ("first", "none")


SMALLER, GREATER = ("contact",), ("contact", "clinical", "legal")


@pytest.mark.parametrize("verb", ["redirect", "reoffer"])
@pytest.mark.parametrize(
    ("groups", "version", "code"),
    [(SMALLER, 1, None), (GREATER, 1, "packet_grew"), (GREATER, 2, "packet_grew"), (GREATER, 3, None)],
)
def test_a_packet_grows_only_under_a_newer_version_of_her_consent(
    verb: str, groups: tuple[str, ...], version: int, code: str | None
) -> None:
    referral = a_referral(State.NOT_PROVIDED, consent_version=2)

    outcome = answered(referral, verb, consent=a_consent(groups=groups, version=version))

    assert code_of(outcome) == code
    assert code is None or (outcome.referral is referral and outcome.successor is None)


@pytest.mark.parametrize(("verb", "count"), [("redirect", "hop"), ("reoffer", "attempt")])
def test_the_fifth_is_the_last(verb: str, count: str) -> None:
    fourth, fifth = (a_referral(State.UNABLE_TO_REACH, **{count: number}) for number in (4, 5))

    assert code_of(answered(fourth, verb)) is None
    assert code_of(answered(fifth, verb)) == "hop_limit"


def test_an_id_that_is_taken_is_no_successor() -> None:
    declined = a_referral(State.DECLINED)

    own = answered(declined, "redirect", found=a_referral(id=SUCCESSOR))
    foreign = answered(declined, "redirect", found=a_referral(id=SUCCESSOR, owner="far-agency"))

    assert (code_of(own), code_of(foreign)) == ("withdrawn", "not_a_party")
    assert own.referral is foreign.referral is declined


GATE: list[tuple[str, dict[str, Any]]] = [
    ("agency_inactive", {"agencies": [an_agency(OWNER), an_agency(RECEIVER, status="suspended")]}),
    ("no_live_protocol", {"protocols": [a_protocol(valid_until=NOON)]}),
    ("entry_stale", {"entries": []}),
    ("entry_stale", {"entries": [an_entry(confirmed_at=NOON - timedelta(days=999))]}),
]


@pytest.mark.parametrize("verb", ["redirect", "reoffer"])
@pytest.mark.parametrize(("code", "known"), GATE)
def test_a_lapsed_suspended_or_stale_service_is_offered_nothing_and_the_owner_is_told(
    verb: str, code: str, known: dict[str, Any]
) -> None:
    """Harms 10 and 25, also behind the first offer."""
    around = in_force(**known)
    referral = a_referral(State.UNABLE_TO_REACH)
    if code == "no_live_protocol":  # it was offered under one that has ended since
        referral = a_referral(State.UNABLE_TO_REACH, protocol=around.current[0])

    outcome = answered(referral, verb, known=around)

    assert (code_of(outcome), outcome.referral, outcome.successor) == (code, referral, None)
    assert outcome.refusal.agency == OWNER


def test_a_reoffer_starts_the_clocks_anew_and_counts() -> None:
    later = NOON + timedelta(minutes=50)

    outcome = answered(a_referral(State.NOT_PROVIDED), "reoffer", at=later)

    [fact] = outcome.facts
    assert (fact.state, fact.attempt, fact.met) == ("offered", 2, "met")
    assert fact.answer_due_at == later + timedelta(hours=1)
    assert outcome.referral.deadlines.keys() == {"acknowledge", "answer"}


@pytest.mark.parametrize("kind", [WithdrawReferral, OrderErasure])
def test_a_stop_that_overtakes_its_referral_is_kept_and_the_referral_is_never_created(kind: Any) -> None:
    verb = kind.type.removeprefix("referral.")
    kept = answered(None, verb)

    created = decide(kept.referral, asked(an_offer()), in_force(), at=NOON)
    redirected = answered(a_referral(State.DECLINED), "redirect", found=kept.referral)
    again = answered(kept.referral, "withdraw")

    assert [(fact.state, fact.referral) for fact in kept.facts] == [("withdrawn", REFERRAL)]
    assert (kept.referral.parties, kept.referral.awaits()) == ((OWNER,), (None, None))
    assert {code_of(one) for one in (created, redirected, again)} == {"withdrawn"}
    assert any(kind.type in one.acts_across_gaps for one in SUBSCRIPTIONS)


def test_late_feedback_lets_the_owner_close() -> None:
    provided = a_referral(State.PROVIDED)
    week = NOON + timedelta(days=7)

    early, late = (answered(provided, "close", at=at) for at in (week - timedelta(seconds=1), week))

    assert code_of(early) == "wrong_state"
    assert (late.referral.state, late.facts[0].met) == ("closed", "missed")


def test_an_answer_just_before_its_time_is_met_although_the_acknowledgement_was_missed() -> None:
    moment = timedelta(microseconds=1)

    outcome = answered(a_referral(), "accept", RECEIVER, at=NOON + timedelta(hours=1) - moment)

    assert (outcome.referral.state, outcome.facts[0].met) == ("accepted", "met")


def test_a_start_after_its_time_is_missed_and_a_cancellation_says_nothing_of_it() -> None:
    accepted, late = a_referral(State.ACCEPTED), NOON + timedelta(hours=3)

    assert answered(accepted, "start", RECEIVER, at=late).facts[0].met == "missed"
    assert answered(accepted, "cancel", at=late).facts[0].met is None


def test_narrowed_groups_are_sealed_within_a_day_or_their_holder_is_named() -> None:
    narrowed = answered(a_referral(State.ACCEPTED), "narrow_consent")
    day = NOON + timedelta(days=1)

    overdue: Any = due(narrowed.referral.without_clock("start"), a_protocol(), at=day)
    confirmed = answered(narrowed.referral, "confirm_narrowed", RECEIVER)
    again = answered(confirmed.referral, "confirm_narrowed", RECEIVER)

    assert (narrowed.referral.groups, narrowed.referral.consent_version) == (("contact",), 2)
    assert (narrowed.facts[0].groups, narrowed.facts[0].seal_by_at) == (("clinical",), day)
    assert [fact.type for fact in overdue.facts] == ["referral.seal_overdue"]
    assert (confirmed.facts[0].met, confirmed.referral.state, code_of(again)) == (
        "met", "accepted", "wrong_state",
    )  # fmt: skip


def test_a_narrowing_is_confirmed_by_its_own_version_and_gives_the_one_before_no_more_time() -> None:
    first = answered(a_referral(State.ACCEPTED), "narrow_consent")
    second = answered(first.referral, "narrow_consent", version=3, at=NOON + timedelta(hours=1))

    late = answered(second.referral, "confirm_narrowed", RECEIVER)
    confirmed = answered(second.referral, "confirm_narrowed", RECEIVER, version=3)

    assert second.facts[0].version == 3
    assert second.referral.deadlines["narrow"] == first.referral.deadlines["narrow"]
    assert code_of(late) == "wrong_state"
    assert "narrow" not in confirmed.referral.deadlines


@pytest.mark.parametrize("state", [State.IN_SERVICE, State.CLOSED, State.WITHDRAWN, State.SEALED])
def test_an_erasure_stops_what_lives_and_ends_with_the_holders_word(state: State) -> None:
    ordered = answered(a_referral(state), "order_erasure")
    erased = answered(ordered.referral, "confirm_erased", RECEIVER)

    assert ordered.referral.state == ("withdrawn" if state is State.IN_SERVICE else state)
    assert ordered.facts[0].seal_by_at == NOON + timedelta(days=1)
    assert (erased.referral.state, erased.facts[0].type) == ("sealed", "referral.erased")
    assert erased.referral.due_at is None
    assert code_of(answered(ordered.referral, "order_erasure")) is not None
    assert code_of(answered(a_referral(State.CLOSED), "confirm_erased", RECEIVER)) == "wrong_state"
