"""Each check of the demo holds on a real run, and a violation planted for it turns exactly it red."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Final

import pytest

from services.cli.demo.agencies import listed_only
from services.cli.demo.checks import CHECKS, EMPTY_WHEN_GOOD, parts_of, run_checks
from services.cli.demo.evidence import Evidence, NameTrace, SinkMail, StatisticalFact
from services.cli.demo.search import DATABASE, LOGS, SEGMENTS
from tests.e2e.conftest import Session

Plant = Callable[[Evidence], Evidence]


def without(rows: tuple[Any, ...], is_victim: Callable[[Any], bool]) -> tuple[Any, ...]:
    """All rows but the first that fits."""
    victim = next(place for place, row in enumerate(rows) if is_victim(row))
    return rows[:victim] + rows[victim + 1 :]


def changed(rows: tuple[Any, ...], is_victim: Callable[[Any], bool], **how: Any) -> tuple[Any, ...]:
    """All rows, the first that fits with other values."""
    victim = next(place for place, row in enumerate(rows) if is_victim(row))
    return (*rows[:victim], replace(rows[victim], **how), *rows[victim + 1 :])


def a_fact_did_not_arrive(evidence: Evidence) -> Evidence:
    rows = without(evidence.received, lambda event: event.type == "referral.acknowledged")
    return replace(evidence, received=rows)


def a_party_sees_another_state(evidence: Evidence) -> Evidence:
    return replace(evidence, views={**evidence.views, next(iter(evidence.views)): "offered"})


def a_step_was_counted_twice(evidence: Evidence) -> Evidence:
    twice = next(each for each in evidence.counted if each.awaits is None)
    again = StatisticalFact(twice.referral, twice.type, None, None)
    return replace(evidence, counted=(*evidence.counted, again))


def a_step_was_lost(evidence: Evidence) -> Evidence:
    return replace(evidence, sent=changed(evidence.sent, lambda _: True, id="evt_lost"))


def a_story_ended_otherwise(evidence: Evidence) -> Evidence:
    return replace(evidence, played=changed(evidence.played, lambda _: True, ends="offered"))


def a_pair_left_too_far_apart(evidence: Evidence) -> Evidence:
    return replace(evidence, gaps_ms={**evidence.gaps_ms, next(iter(evidence.gaps_ms)): 5.5})


def a_kill_hit_nothing(evidence: Evidence) -> Evidence:
    return replace(evidence, kills=changed(evidence.kills, lambda _: True, unanswered=19))


def an_event_became_a_dead_letter(evidence: Evidence) -> Evidence:
    return replace(evidence, dead_letters={**evidence.dead_letters, "health": 1})


def a_listed_organisation_got_an_offer(evidence: Evidence) -> Evidence:
    return replace(evidence, outsiders={"an organisation": None})


def a_look_has_no_entry(evidence: Evidence) -> Evidence:
    victim = next(look for look in evidence.looks if look.referral)
    kept = tuple(
        entry
        for entry in evidence.entries
        if not (entry.get("referral") == victim.referral and entry.get("agency") == victim.agency)
    )
    return replace(evidence, entries=kept)


def the_trail_is_not_sound(evidence: Evidence) -> Evidence:
    return replace(evidence, verdict={**evidence.verdict, "exit_code": 7})


def a_mail_names_a_sector(evidence: Evidence) -> Evidence:
    mail = evidence.mails[0]
    return replace(evidence, mails=changed(evidence.mails, lambda _: True, text=f"{mail.text} Police"))


def a_desk_was_not_told(evidence: Evidence) -> Evidence:
    desk = evidence.mails[0].to
    return replace(evidence, mails=tuple(mail for mail in evidence.mails if mail.to != desk))


def a_name_lies_in_a_segment(evidence: Evidence) -> Evidence:
    trace = NameTrace(SEGMENTS, "some-topic-0/00000000000000000000.log", "base64 at 1", "health")
    return replace(evidence, traces=(*evidence.traces, trace))


def the_control_was_not_found_in(place: str) -> Plant:
    def plant(evidence: Evidence) -> Evidence:
        form = (place, "base64 at 2")
        rows = tuple(trace for trace in evidence.control_traces if (trace.place, trace.form) != form)
        return replace(evidence, control_traces=rows)

    return plant


def two_processes_share_a_role(evidence: Evidence) -> Evidence:
    rows = changed(evidence.identities, lambda each: each.name == "police", database_roles=("health",))
    return replace(evidence, identities=rows)


PLANTED: Final[dict[str, Plant]] = {
    "facts numbered without gap": a_fact_did_not_arrive,
    "last states agree": a_party_sees_another_state,
    "no effect twice": a_step_was_counted_twice,
    "every step answered": a_step_was_lost,
    "stories ended as told": a_story_ended_otherwise,
    "both orders of acceptance and withdrawal": a_pair_left_too_far_apart,
    "killed in the middle of work": a_kill_hit_nothing,
    "no dead letters": an_event_became_a_dead_letter,
    "listed organisations get nothing": a_listed_organisation_got_an_offer,
    "every look is in the trail": a_look_has_no_entry,
    "the exported trail verifies": the_trail_is_not_sound,
    "mails say nothing": a_mail_names_a_sector,
    "every awaited desk is told": a_desk_was_not_told,
    "planted names stay at home": a_name_lies_in_a_segment,
    "the search finds its control": the_control_was_not_found_in(SEGMENTS),
    "every process has its own identity": two_processes_share_a_role,
}


def red(evidence: Evidence) -> list[str]:
    return [result.name for result in run_checks(evidence) if not result.holds]


def test_a_real_run_under_kills_holds(session: Session) -> None:
    problems = {result.name: result.problems for result in run_checks(session.evidence) if not result.holds}

    assert problems == {}


def test_every_check_has_a_planted_violation() -> None:
    assert PLANTED.keys() == {name for name, _ in CHECKS}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_turns_exactly_its_check_red(session: Session, name: str) -> None:
    assert red(PLANTED[name](session.evidence)) == [name]


def twice_the_same_mail(evidence: Evidence) -> Evidence:
    first = evidence.mails[0]
    rows = (SinkMail(first.to, evidence.mails[1].name, first.text, first.size_bytes), *evidence.mails[1:])
    return replace(evidence, mails=rows)


def a_mail_is_longer(evidence: Evidence) -> Evidence:
    longer = evidence.mails[0].size_bytes + 1
    return replace(evidence, mails=changed(evidence.mails, lambda _: True, size_bytes=longer))


def one_order_came_too_seldom(evidence: Evidence) -> Evidence:
    events = [each.event for each in evidence.addressed]
    accepted = {event.referral for event in events if event.type == "referral.accepted"}
    gaps_ms = {referral: gap for referral, gap in evidence.gaps_ms.items() if referral in accepted}
    return replace(evidence, gaps_ms=gaps_ms)


def an_entry_does_not_open(evidence: Evidence) -> Evidence:
    opened = evidence.verdict["details_checked"] - 1
    return replace(evidence, verdict={**evidence.verdict, "details_checked": opened})


def a_process_without_a_kafka_user(evidence: Evidence) -> Evidence:
    rows = changed(evidence.identities, lambda each: each.name == "governance", kafka_users=())
    return replace(evidence, identities=rows)


def a_story_failed(evidence: Evidence) -> Evidence:
    return replace(evidence, failures=("it did not end in time",))


def a_report_was_refused(evidence: Evidence) -> Evidence:
    return replace(evidence, refused_reports={"police": 2})


def a_refusal_was_told_twice(evidence: Evidence) -> Evidence:
    told = evidence.addressed[0]
    rows = (*evidence.addressed, told)
    received = (*evidence.received, told.event)
    return replace(evidence, addressed=rows, received=received)


FURTHER: Final[dict[str, tuple[Plant, str]]] = {
    "a mail twice": (twice_the_same_mail, "every awaited desk is told"),
    "a longer mail": (a_mail_is_longer, "mails say nothing"),
    "one order only": (one_order_came_too_seldom, "both orders of acceptance and withdrawal"),
    "an entry that does not open": (an_entry_does_not_open, "the exported trail verifies"),
    "no Kafka user": (a_process_without_a_kafka_user, "every process has its own identity"),
    "a story that failed": (a_story_failed, "stories ended as told"),
    "a refused report": (a_report_was_refused, "no dead letters"),
    "no control in logs": (the_control_was_not_found_in(LOGS), "the search finds its control"),
    "no control in databases": (the_control_was_not_found_in(DATABASE), "the search finds its control"),
}


@pytest.mark.parametrize("what", FURTHER)
def test_a_further_violation_turns_exactly_its_check_red(session: Session, what: str) -> None:
    plant, name = FURTHER[what]

    assert red(plant(session.evidence)) == [name]


def test_a_fact_that_was_told_twice_is_seen(session: Session) -> None:
    assert "no effect twice" in red(a_refusal_was_told_twice(session.evidence))


NEVER_EMPTY: Final = frozenset({"verdict"})
"""A part that the verifier always fills."""
PARTS: Final = tuple(part.name for part in fields(Evidence) if part.name not in EMPTY_WHEN_GOOD | NEVER_EMPTY)


@pytest.mark.parametrize("part", PARTS)
def test_evidence_that_is_empty_is_red(session: Session, part: str) -> None:
    emptied = replace(session.evidence, **{part: type(getattr(session.evidence, part))()})
    standing = {name for name, check in CHECKS if part in parts_of(check)}

    assert standing
    assert standing <= set(red(emptied))
    for result in run_checks(emptied):
        assert (f"there is no evidence: {part} is empty" in result.problems) == (result.name in standing)


def test_the_run_offered_to_every_organisation_that_is_listed_only(session: Session) -> None:
    assert session.evidence.outsiders == dict.fromkeys(listed_only().values(), "agency_inactive")
