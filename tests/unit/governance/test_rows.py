"""Rows of the founding text's capabilities that governance's tables alone can show."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from schemas.events.partnership import (
    CommitteeIncomplete,
    DecisionRoutedUp,
    DecisionTabled,
    DecisionTaken,
    MandateExpiring,
)
from services.runtime.errors import Refused
from tests.support.clock import NOON
from tests.support.stage import (
    FOUNDERS,
    SALTMERE,
    Stage,
    a_busy_stage,
    a_founding,
    an_item,
    facts_of,
    saltmeres,
)

UN, MINISTRYS = "secretary un-office", "secretary ministry"
VOTE = {"method": "vote"}
DAY = timedelta(days=1)
LOCAL = {"committee": "cmt_saltmere", "meeting": "mtg_saltmere", "area": "ZZ01", "by": "ministry"}


def test_row_1_a_missing_constituency_is_refused_and_a_kept_rule_told() -> None:
    named = {"constituencies": ["government", "academia"]}
    stage = Stage(a_busy_stage().rules.areas)

    with pytest.raises(Refused, match="constituency_missing"):
        stage.found(committee=a_founding()["committee"] | {"composition": named})
    assert not stage.everything()
    outcomes = stage.found()

    (told,) = [fact for one in outcomes for fact in one.facts if fact.key_field == "committee"]
    assert told.type == "governance.committee_constituted"
    assert told.model_dump(include={"seats", "civil_share"}) == {
        "seats": dict.fromkeys(FOUNDERS.values(), 1),
        "civil_share": 40,
    }


def test_row_2_a_decision_above_the_mandate_is_routed_up_and_taken_there() -> None:
    stage = a_busy_stage()

    (up,) = decided(stage, "dec_above", *SALTMERE, **LOCAL, subject="recommendation")
    assert isinstance(up, DecisionRoutedUp)
    waiting = stage.content("decision", up.as_decision)
    assert (up.to, up.level, waiting.routed_from, waiting.votes) == (
        "cmt_steering", "district", "dec_above", {})  # fmt: skip

    stage.do(UN, "schedule", "decision", up.as_decision, {"meeting": "mtg_first"})
    stage.vote(up.as_decision, "for", "un-office", "ministry", "dawn-movement")
    (outcome,) = stage.do(UN, "take", "decision", up.as_decision, VOTE)
    (taken,) = outcome.facts

    assert isinstance(taken, DecisionTaken)
    assert (taken.committee, taken.level, taken.outcome) == ("cmt_steering", "national", "adopted")


@pytest.mark.parametrize("present", range(5))
def test_row_2_no_decision_is_taken_below_the_quorum(present: int) -> None:
    stage = Stage(a_busy_stage().rules.areas)
    stage.found()
    there = ["dawn-movement", "ministry", "un-office", "open-hand-fund"][:present]
    stage.meet("mtg_first", absent=set(FOUNDERS) - {*there})
    stage.do("seat ministry", "table", "decision", "dec_item", an_item())
    stage.vote("dec_item", "for", *there)

    try:
        told = facts_of(stage.do(UN, "take", "decision", "dec_item", VOTE))
    except Refused as refused:
        told = [refused.code]

    few = "quorum_missing" if present else "quorum_without_constituency"
    assert told == ["decision_taken" if present >= 3 else few]


def test_what_is_tabled_is_told_with_whose_proposal_it_is_whatever_becomes_of_it() -> None:
    stage = a_busy_stage()

    (outcome,) = stage.do("seat dawn-movement", "table", "decision", "dec_never", an_item(phase="planning"))

    place = {"committee": "cmt_steering", "level": "national", "area": "ZZ", "decision": "dec_never"}
    (fact,) = outcome.facts
    what = {"subject": "recommendation", "phase": "planning"}
    assert fact == DecisionTabled(**place, **what, tabled_by="womens_movement")


def test_row_10_the_lowest_level_with_a_mandate_decides_and_the_share_by_level_shows_in_the_facts() -> None:
    stage = a_busy_stage()

    facts = [
        *decided(stage, "dec_here", *SALTMERE, **LOCAL, subject="protocol"),
        *decided(stage, "dec_there", *SALTMERE, **LOCAL, subject="recommendation"),
        *decided(stage, "dec_wide", "ministry", "un-office", "dawn-movement"),
    ]

    assert Counter(one.level for one in facts if isinstance(one, DecisionTaken)) == {
        "district": 1,
        "national": 1,
    }
    alike = saltmeres(NOON + DAY * 600, co_chairs=["clinic", "precinct"])
    with pytest.raises(Refused, match="co_chairs_alike"):
        stage.do(UN, "propose", "committee", "cmt_x", alike)


def test_t1_a_share_of_civil_society_below_the_rule_is_told_and_so_is_its_mending() -> None:
    stage = a_busy_stage()
    fill = {"until": NOON + DAY * 600}

    below = stage.do(MINISTRYS, "fill", "committee", "cmt_saltmere", fill | {"partner": "un-office"})
    mended = stage.do(MINISTRYS, "fill", "committee", "cmt_saltmere", fill | {"partner": "dawn-movement"})

    told = below[0].facts[1]
    assert isinstance(told, CommitteeIncomplete)
    assert (told.broken, told.civil_share, below[0].record.state) == ("civil_share_below", 20, "incomplete")
    assert (facts_of(mended), mended[0].record.state) == (
        ["seat_filled", "committee_constituted"], "constituted")  # fmt: skip


def test_t2_a_mandate_warns_60_and_14_days_before_its_end_and_then_blocks_new_decisions_alone() -> None:
    stage = a_busy_stage()
    told = []
    for day in range(1, 301):
        for one in stage.tick(DAY):
            of_mandates = (fact for fact in one.facts if fact.key_field == "mandate")
            told += [(day, fact.type, getattr(fact, "days_left", None)) for fact in of_mandates]

    expiring = MandateExpiring.type
    assert told == [(240, expiring, 60), (286, expiring, 14), (300, "governance.mandate_expired", None)]
    for meeting, committee, by, decision in (
        ("mtg_late", "cmt_saltmere", MINISTRYS, "dec_local"), ("mtg_wide", "cmt_steering", UN, "dec_item"),
    ):  # fmt: skip
        stage.meet(meeting, committee)
        stage.do(by, "schedule", "decision", decision, {"meeting": meeting})
        seated = stage.content("committee", committee).seats
        stage.vote(decision, "for", *(seat.partner for seat in seated))
    with pytest.raises(Refused, match="no_live_mandate"):
        stage.do(MINISTRYS, "take", "decision", "dec_local", VOTE)
    assert stage.state("decision", "dec_local") == "on_agenda"
    assert stage.state("committee", "cmt_saltmere") == "constituted"
    assert stage.do(UN, "take", "decision", "dec_item", VOTE)  # another committee's mandate is live


@pytest.mark.parametrize(("act", "said", "amounts", "above"), [
    ("log_effort", {"on": NOON.date()}, {"hours": [4, 4, 1]}, [False, False, True]),
    ("use_budget", {"year": 2026}, {"amount": [400, 400, 1]}, [False, False, True]),
])  # fmt: skip
def test_t3_effort_and_money_above_four_fifths_of_what_was_offered_or_planned_warn(
    act: str, said: dict[str, Any], amounts: dict[str, list[int]], above: list[bool]
) -> None:
    stage = a_busy_stage()
    hours = {"offers": [{"code": "staff_time", "amount": 10, "unit": "hours_a_month"}]}
    stage.do("seat clinic", "amend", "partner", "clinic", hours)
    ((field, each),) = amounts.items()

    facts = [
        stage.do("seat clinic", act, "mandate", "mdt_saltmere",
            said | {"entry": str(number), "activity": "joint_training", field: one})[0].facts[0]
        for number, one in enumerate(each)
    ]  # fmt: skip

    assert [getattr(fact, "is_above", None) for fact in facts] == above


def decided(stage: Stage, decision: str, *voters: str, **item: Any) -> list[Any]:
    """The facts of an item that these seats vote for."""
    return [fact for one in stage.decide(decision, *voters, **item) for fact in one.facts]
