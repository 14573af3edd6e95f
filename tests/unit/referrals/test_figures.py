"""What people watch, as pure tables: a fact may come twice, and what is over goes away."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.events.facts import FACTS
from schemas.events.life_cycle import State
from schemas.events.unmet_need import UnmetNeedRecorded
from schemas.topics import REFERRALS_FACTS
from schemas.wire.envelope import ReadEvent
from services.referrals.domain.figures import MINUTES_KEPT, Figures, show
from tests.support.builders import an_event, an_id
from tests.support.clock import NOON

Tables = dict[str, dict[str, Any]]


def tables() -> Tables:
    return {"open_offers": {}, "facts_a_minute": {}}


def a_fact(
    kind: str, state: str | None, referral: str = "one", at: datetime = NOON, **more: Any
) -> ReadEvent[Any]:
    content = {"referral": an_id("referral", referral), "state": state} | more
    return an_event(REFERRALS_FACTS, FACTS[f"referral.{kind}"].model_validate(content), at=at)


def applied(events: Iterable[tuple[ReadEvent[Any], int]], to: Tables, partition: int = 0) -> Tables:
    figures = Figures()
    for event, offset in events:
        figures.apply(event, (partition, offset), to)
    return to


def unanswered(of: Tables, at: datetime = NOON) -> Any:
    return show(of, at)["unanswered"]


def test_an_offer_counts_by_urgency_and_age_until_it_is_answered() -> None:
    offered = [
        (a_fact("offered", "offered", "one", urgency="urgent"), 0),
        (a_fact("offered", "offered", "two", urgency="routine"), 1),
        (a_fact("acknowledged", "acknowledged", "two"), 2),
        (a_fact("offered", "offered", "three"), 3),
    ]
    found = applied(offered, tables())

    assert unanswered(found) == {
        urgency: {"under_15_minutes": 1} for urgency in ("routine", "unsaid", "urgent")
    }
    assert unanswered(found, NOON + timedelta(minutes=15))["urgent"] == {"under_1_hour": 1}
    assert unanswered(found, NOON + timedelta(days=3))["urgent"] == {"older": 1}

    applied(
        [
            (a_fact("accepted", "accepted", "one"), 4),
            (a_fact("expired", "expired", "three", timer="answer"), 5),
        ],
        found,
    )

    assert unanswered(found) == {"routine": {"under_15_minutes": 1}}

    again = {"reason": "capacity_again", "attempt": 2, "urgency": "urgent"}
    applied([(a_fact("reoffered", "offered", "one", at=NOON + timedelta(hours=1), **again), 6)], found)

    assert unanswered(found, NOON + timedelta(hours=1))["urgent"] == {"under_15_minutes": 1}


@pytest.mark.parametrize("state", sorted(set(State) - {State.OFFERED, State.ACKNOWLEDGED}))
def test_whatever_else_happens_to_it_ends_its_waiting(state: State) -> None:
    found = applied(
        [(a_fact("offered", "offered"), 0), (a_fact("reminded", str(state), timer="answer"), 1)], tables()
    )

    assert found["open_offers"] == {}


def test_what_comes_again_after_a_crash_changes_nothing() -> None:
    events = [
        (a_fact("offered", "offered", "one"), 0), (a_fact("offered", "offered", "two"), 1),
        (a_fact("accepted", "accepted", "one"), 2),
    ]  # fmt: skip
    once = applied(events, tables())

    assert applied(events, applied(events[:2], tables())) == once  # two lives: the second begins anew
    assert show(once, NOON)["facts_a_minute"][0]["counts"] == {"accepted": 1, "offered": 2}


def test_what_the_relay_sends_again_is_counted_once() -> None:
    offered, accepted = a_fact("offered", "offered"), a_fact("accepted", "accepted")

    found = applied([(offered, 0), (accepted, 1), (offered, 2), (accepted, 3)], tables())

    assert show(found, NOON)["facts_a_minute"][0]["counts"] == {"accepted": 1, "offered": 1}
    assert found["open_offers"] == {}


def test_minutes_are_shown_over_all_partitions_and_forgotten_after_an_hour() -> None:
    found = tables()
    for partition in (0, 1):
        applied([(a_fact("offered", "offered", f"p{partition}"), 7)], found, partition)
    need = UnmetNeedRecorded(unmet=an_id("unmet"), need="legal_aid", area="KE047", month="2026-11")
    applied([(an_event(REFERRALS_FACTS, need, at=NOON + timedelta(minutes=1)), 8)], found)

    assert show(found, NOON + timedelta(minutes=1))["facts_a_minute"] == [
        {"minute": f"{NOON:%Y-%m-%dT%H:%MZ}", "counts": {"offered": 2}},
        {"minute": f"{NOON + timedelta(minutes=1):%Y-%m-%dT%H:%MZ}", "counts": {"unmet_need_recorded": 1}},
    ]

    late = NOON + timedelta(minutes=MINUTES_KEPT + 1)
    applied([(a_fact("offered", "offered", "late", at=late), 9)], found)
    applied([(a_fact("accepted", "accepted", "p0", at=NOON), 10)], found)

    assert len([key for key in found["facts_a_minute"] if key.startswith("0/")]) == 1
    assert len(show(found, late)["facts_a_minute"]) == 1
