"""What partners say: dialogues in counts, recommendations from two constituencies' word to a check."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.dialogue import DialogueHeld, RecommendationAgreed
from services.governance.domain.areas import read_areas
from services.governance.handlers import StandingAlarms
from tests.support.partnership import AREAS
from tests.support.stage import A_RECOMMENDATION, Stage, a_dialogue, described, facts_of


@pytest.fixture
def stage() -> Stage:
    stage = Stage(read_areas(AREAS.read_text("utf-8")))
    stage.found()
    return stage


def agreed(stage: Stage) -> None:
    stage.do("seat river-alliance", "propose", "recommendation", "rec_desks", A_RECOMMENDATION)
    stage.do("seat ministry", "agree", "recommendation", "rec_desks")


def assigned(stage: Stage, days: int = 90) -> None:
    agreed(stage)
    due = (stage.clock.now() + timedelta(days=days)).isoformat()
    stage.do("seat ministry", "assign", "recommendation", "rec_desks", {"owner": "ministry", "due_at": due})


def test_a_dialogue_keeps_counts_and_no_small_one_and_marks_that_nobody_concerned_was_heard(
    stage: Stage,
) -> None:
    stage.do("seat river-alliance", "announce", "dialogue", "dlg_one", a_dialogue(stage.clock.now()))
    said = {"by_constituency": {"civil_society": 12, "government": 3}, "by_group": {"rural_women": 4}}
    (held,) = stage.do("seat river-alliance", "hold", "dialogue", "dlg_one", said)
    stage.do("seat river-alliance", "announce", "dialogue", "dlg_two", a_dialogue(stage.clock.now()))
    (deaf,) = stage.do("seat river-alliance", "hold", "dialogue", "dlg_two", {"by_constituency": {"un": 5}})

    fact, mute = held.facts[0], deaf.facts[0]
    assert isinstance(fact, DialogueHeld)
    assert isinstance(mute, DialogueHeld)
    assert (fact.by_constituency, fact.by_group) == (
        {"civil_society": "12", "government": "<5"},
        {"rural_women": "<5"},
    )
    assert "4" not in held.act.body.model_dump_json().replace("<5", "")
    assert [fact.heard_no_group, mute.heard_no_group] == [False, True]


def test_a_recommendation_is_agreed_by_two_constituencies_owned_and_verified_by_a_third_hand(
    stage: Stage,
) -> None:
    agreed(stage)
    (joined,) = stage.do("seat dawn-movement", "agree", "recommendation", "rec_desks")
    told = joined.facts[0]
    due = (stage.clock.now() + timedelta(days=90)).isoformat()
    acts = (
        ("seat ministry", "assign", {"owner": "ministry", "due_at": due}),
        ("seat ministry", "progress", {"per_cent": 40}),
        ("seat ministry", "implement", {"evidence": "service_opened"}),
        ("seat river-alliance", "verify", None),
    )
    facts = [
        fact
        for who, act, body in acts
        for fact in facts_of(stage.do(who, act, "recommendation", "rec_desks", body))
    ]

    assert isinstance(told, RecommendationAgreed)
    assert told.constituencies == ("civil_society", "government", "womens_movement")
    assert facts == [f"recommendation_{one}" for one in ("assigned", "progressed", "implemented", "verified")]


def test_an_owner_that_left_does_not_stop_the_verification_by_others(stage: Stage) -> None:
    stage.do("seat ministry", "propose", "partner", "school", described("academia"))
    stage.do("approver river-alliance", "confirm", "partner", "school")
    agreed(stage)
    due = (stage.clock.now() + timedelta(days=90)).isoformat()
    stage.do("seat ministry", "assign", "recommendation", "rec_desks", {"owner": "school", "due_at": due})
    stage.do("seat school", "implement", "recommendation", "rec_desks", {"evidence": "training_held"})
    stage.do("approver school", "leave", "partner", "school")

    stage.do("seat ministry", "verify", "recommendation", "rec_desks")

    assert stage.state("recommendation", "rec_desks") == "verified"


def test_what_is_past_due_and_does_not_move_is_stalled_and_an_alarm_until_it_moves_again(
    stage: Stage,
) -> None:
    assigned(stage)
    alarms = StandingAlarms(stage.register, stage.clock)
    stage.do("seat ministry", "progress", "recommendation", "rec_desks", {"per_cent": 10})

    assert facts_of(stage.tick(timedelta(days=89))) == []
    assert facts_of(stage.tick(timedelta(days=2))) == ["recommendation_stalled"]
    assert "recommendation_stalled" in [one.rule for one in alarms()]
    stage.do("seat ministry", "progress", "recommendation", "rec_desks", {"per_cent": 50})
    assert "recommendation_stalled" not in [one.rule for one in alarms()]
    assert facts_of(stage.tick(timedelta(days=29))) == []
    assert facts_of(stage.tick(timedelta(days=2))) == ["recommendation_stalled"]


@pytest.mark.parametrize("count", [0, -3, True, "four", 1.5, 10**7])
def test_a_count_is_a_number_of_people(stage: Stage, count: Any) -> None:
    stage.do("seat river-alliance", "announce", "dialogue", "dlg_one", a_dialogue(stage.clock.now()))

    with pytest.raises(ValidationError):
        stage.do("seat river-alliance", "hold", "dialogue", "dlg_one", {"by_constituency": {"un": count}})
