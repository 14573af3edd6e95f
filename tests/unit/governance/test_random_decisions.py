"""However seats come, go, attend, vote and step back: nothing is decided that a naive reading forbids."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.errors import Refused
from tests.support.clock import NOON
from tests.support.stage import FOUNDERS, Stage, a_busy_stage, an_item

PARTNERS = (*FOUNDERS, "clinic")
SUBJECTS = ("recommendation", "release")
STEERING = ("committee", "cmt_steering")
WHAT = st.sampled_from(
    ["table", "vote", "vote", "vote", "attend", "recuse", "resign", "fill", "take", "take", "meet", "wait"]
)
STEPS = st.lists(st.tuples(WHAT, st.integers(0, 5), st.integers(0, 3)), min_size=5, max_size=30)


def test_no_decision_is_taken_without_quorum_civil_society_mandate_and_composition() -> None:
    taken: list[bool] = []

    @settings(max_examples=150, deadline=None)
    @given(STEPS)
    def play(steps: list[tuple[str, int, int]]) -> None:
        stage, meetings = a_busy_stage(), ["mtg_first"]
        stage.vote("dec_item", "for", "ministry")
        for number, (what, who, choice) in enumerate(steps):
            with suppress(Refused):
                _step(stage, meetings, what, PARTNERS[who], choice, f"-{number}", taken)

    play()
    assert taken, "nothing was ever decided: the sequences prove nothing"
    assert all(taken)


def _step(
    stage: Stage, meetings: list[str], what: str, partner: str, choice: int, number: str, taken: list[bool]
) -> None:
    items = [one.id for one in stage.register.of("decision") if one.content.committee == STEERING[1]]
    waiting = [one for one in items if stage.state("decision", one) == "on_agenda"] or items
    item = waiting[choice % len(waiting)]
    seat, secretary = f"seat {partner}", "secretary un-office"
    match what:
        case "table":
            said = an_item(meeting=meetings[-1], subject=SUBJECTS[choice % 2])
            stage.do(seat, "table", "decision", f"dec_z{number}", said)
        case "vote":
            said = {"seat": partner, "choice": ("for", "for", "against", "abstain")[choice]}
            stage.do(seat, "vote", "decision", item, said)
        case "recuse":
            stage.do(seat, "recuse", "decision", item)
        case "attend":
            stage.do(seat, "attend", "meeting", meetings[-1])
        case "resign":
            stage.do(seat, "resign", *STEERING)
        case "fill":
            until = NOON + timedelta(days=700)
            stage.do(secretary, "fill", *STEERING, {"partner": partner, "until": until})
        case "meet":
            stage.do(secretary, "close", "meeting", meetings[-1])
            stage.meet(f"mtg_z{number}", absent=PARTNERS[choice:] if choice else ())
            meetings.append(f"mtg_z{number}")
        case "wait":
            stage.tick(timedelta(days=choice * 100))
        case "take":
            decision, committee = stage.content("decision", item), stage.content(*STEERING)
            method = {"method": ("vote", "consensus")[choice % 2]}
            (outcome,) = stage.do(secretary, "take", "decision", item, method)
            present = stage.content("meeting", decision.meeting).present
            is_open = stage.state("meeting", decision.meeting) == "open"
            taken.append(is_open and _might(stage, decision, committee, present, outcome.facts[0]))


def _might(stage: Stage, decision: Any, committee: Any, present: tuple[str, ...], told: Any) -> bool:
    """The rule of the founders' committee in the plainest words, for the decision that was taken."""
    speaks_for = {seat.partner: seat.constituency for seat in committee.seats}
    civil = {name for name, whom in speaks_for.items() if whom in ("civil_society", "womens_movement")}
    free = {name for name in speaks_for if name in present and name not in decision.recused}
    voted = {name: said for name, said in decision.votes.items() if name in free}
    votes = [*voted.values()]
    return (
        {*FOUNDERS.values()} <= {*speaks_for.values()}  # each constituency that the rule names
        and len(civil) * 5 >= len(speaks_for) >= 3
        and {speaks_for.get("ministry"), speaks_for.get("dawn-movement")} == {"government", "womens_movement"}
        and len(voted) * 2 >= len(speaks_for)
        and bool(civil & {*voted})
        and decision.subject in ("admission", "protocol", "recommendation")
        and stage.clock.now() < NOON + timedelta(days=600)
        and (told.outcome == "adopted") == (votes.count("for") > votes.count("against"))
        and (told.method == "vote" or told.dissent == 0)
    )
