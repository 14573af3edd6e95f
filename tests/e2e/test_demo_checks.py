"""Each check of the demo holds on a real run, and a violation planted for it turns exactly it red."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from services.cli.demo.agencies import listed_only
from services.cli.demo.canaries import MARKERS
from services.cli.demo.checks import (
    CANARY,
    CHECKS,
    DATABASE,
    DATABASE_FILES,
    EMPTY_WHEN_GOOD,
    LOGS,
    MAILS,
    NOBODY,
    SEGMENTS,
    Evidence,
    NameTrace,
    parts_of,
    run_checks,
    still_awaited,
)
from services.cli.demo.learning_checks import RELEASED, lines_of_learning
from services.cli.demo.packet_checks import ACCEPTED, STRANGER, TOO_EARLY, TriedPull
from services.cli.demo.partner_checks import READERS
from tests.e2e.conftest import Session

Plant = Callable[[Evidence], dict[str, Any]]


def without(rows: tuple[Any, ...], is_victim: Callable[[Any], bool]) -> tuple[Any, ...]:
    """All rows but the first that fits."""
    victim = next(place for place, row in enumerate(rows) if is_victim(row))
    return rows[:victim] + rows[victim + 1 :]


def waiting_desk(evidence: Evidence) -> str:
    return min(still_awaited(evidence["desks"], evidence["counted"]))


def changed(
    rows: tuple[Any, ...], is_victim: Callable[[Any], bool] = lambda _: True, **how: Any
) -> tuple[Any, ...]:
    """All rows, the first that fits with other values."""
    victim = next(place for place, row in enumerate(rows) if is_victim(row))
    return (*rows[:victim], replace(rows[victim], **how), *rows[victim + 1 :])


def no_entry_of_a_look(evidence: Evidence) -> tuple[Any, ...]:
    """All entries but those of one look."""
    look = next(look for look in evidence["looks"] if look.referral)
    mine = {"referral": look.referral, "agency": look.agency, "act": look.act}
    return tuple(entry for entry in evidence["entries"] if not mine.items() <= entry.items())


def without_control(place: str) -> Plant:
    return lambda evidence: {
        "traces": tuple(
            trace
            for trace in evidence["traces"]
            if (trace.sector, trace.place, trace.form) != (NOBODY, place, "base64 at 2")
        )
    }


PLANTED: Final[tuple[tuple[str, str, Plant], ...]] = (
    (
        "a fact did not arrive",
        "facts numbered without gap",
        lambda e: {"received": without(e["received"], lambda event: event.type == "referral.acknowledged")},
    ),
    (
        "a party sees another state",
        "last states agree",
        lambda e: {"views": {**e["views"], next(iter(e["views"])): "offered"}},
    ),
    (
        "a step was counted twice",
        "no effect twice",
        lambda e: {
            "counted": (
                *e["counted"],
                next(each for each in e["counted"] if each["type"] == "referral.closed"),
            )
        },
    ),
    ("a step was lost", "every step answered", lambda e: {"sent": changed(e["sent"], id="evt_lost")}),
    (
        "a story ended otherwise",
        "stories ended as told",
        lambda e: {"played": changed(e["played"], ends="offered")},
    ),
    ("a story failed", "stories ended as told", lambda e: {"failures": ("it did not end in time",)}),
    (
        "a pair left too far apart",
        "both orders of acceptance and withdrawal",
        lambda e: {"gaps_ms": {**e["gaps_ms"], next(iter(e["gaps_ms"])): 25.5}},
    ),
    (
        "one order came too seldom",
        "both orders of acceptance and withdrawal",
        lambda e: {
            "gaps_ms": {referral: gap for referral, gap in e["gaps_ms"].items() if referral in accepted(e)}
        },
    ),
    (
        "a kill hit nothing",
        "killed in the middle of work",
        lambda e: {"kills": changed(e["kills"], unanswered=19)},
    ),
    (
        "an event became a dead letter",
        "no dead letters",
        lambda e: {"dead_letters": {**e["dead_letters"], "health": 1}},
    ),
    ("a report was refused", "no dead letters", lambda e: {"refused_reports": {"police": "event malformed"}}),
    (
        "a listed organisation got an offer",
        "listed organisations get nothing",
        lambda e: {"outsiders": {"an organisation": None}},
    ),
    ("a look has no entry", "every look is in the trail", lambda e: {"entries": no_entry_of_a_look(e)}),
    (
        "a packet opened before the acceptance",
        "packets open for receivers that accepted",
        lambda e: {"pulls": changed(e["pulls"], lambda pull: pull.moment == ACCEPTED, moment=TOO_EARLY)},
    ),
    (
        "a stranger was told that there is something",
        "packets open for receivers that accepted",
        lambda e: {"pulls": changed(e["pulls"], lambda pull: pull.moment == STRANGER, code="forbidden")},
    ),
    (
        "a release has no entry",
        "every release has its entry",
        lambda e: {"pulls": changed(e["pulls"], lambda pull: bool(pull.fields), entry=-1)},
    ),
    (
        "a packet opened after the withdrawal",
        "nothing opens after a withdrawal",
        lambda e: {"withdrawn_at": {**e["withdrawn_at"], opened(e).referral: 0.0}},
    ),
    (
        "the police opened what a clinic may",
        "the police see nothing clinical",
        lambda e: {"pulls": changed(e["pulls"], shows_clinical, sector="police")},
    ),
    (
        "the trail is not sound",
        "the exported trail verifies",
        lambda e: {"verdict": {**e["verdict"], "exit_code": 7}},
    ),
    (
        "an entry does not open",
        "the exported trail verifies",
        lambda e: {"verdict": {**e["verdict"], "details_checked": e["verdict"]["size"] - 1}},
    ),
    (
        "a mail names a sector",
        "mails say nothing",
        lambda e: {"mails": changed(e["mails"], text=e["mails"][0].text + " Police")},
    ),
    (
        "a mail is longer",
        "mails say nothing",
        lambda e: {"mails": changed(e["mails"], size_bytes=e["mails"][0].size_bytes + 1)},
    ),
    (
        "a desk was not told",
        "every awaited desk is told",
        lambda e: {"mails": tuple(each for each in e["mails"] if each.to != waiting_desk(e))},
    ),
    (
        "a mail was sent twice",
        "every awaited desk is told",
        lambda e: {"mails": changed(e["mails"], name=e["mails"][1].name)},
    ),
    (
        "a name lies in a segment",
        "planted names stay at home",
        lambda e: {"traces": (*e["traces"], NameTrace(SEGMENTS, "a-topic-0/0.log", "base64 at 1", "health"))},
    ),
    (
        "a canary lies in the write-ahead log",
        "canaries lie only where they were opened",
        lambda e: {"traces": (*e["traces"], NameTrace(DATABASE_FILES, "pg_wal/0", "hex", CANARY))},
    ),
    (
        "the search does not see what was opened",
        "canaries lie only where they were opened",
        lambda e: {"traces": tuple(trace for trace in e["traces"] if trace.sector != CANARY)},
    ),
    ("no control in segments", "the search finds its control", without_control(SEGMENTS)),
    ("no control in logs", "the search finds its control", without_control(LOGS)),
    ("no control in databases", "the search finds its control", without_control(DATABASE)),
    ("no control in their files", "the search finds its control", without_control(DATABASE_FILES)),
    (
        "no mail was searched",
        "the search finds its control",
        lambda e: {"searched_bytes": {**e["searched_bytes"], MAILS: 0}},
    ),
    (
        "a version was adopted without civil society",
        "nothing is decided without civil society",
        lambda e: {"undecided": {one: replace(row, code=None) for one, row in e["undecided"].items()}},
    ),
    (
        "a version went on though it was refused",
        "nothing is decided without civil society",
        lambda e: {"undecided": {one: replace(row, state="adopted") for one, row in e["undecided"].items()}},
    ),
    (
        "the arbiter took what one holder signed",
        "one signature puts nothing in force",
        lambda e: {"half_signed": e["half_signed"] | with_reader(e, "referrals", kept=2)},
    ),
    (
        "a sector lost a protocol in silence",
        "one signature puts nothing in force",
        lambda e: {"half_signed": e["half_signed"] | with_reader(e, "police", reason=None)},
    ),
    (
        "a fact of governance was lost",
        "governance tells what partners did",
        lambda e: {"told_decisions": e["told_decisions"][1:]},
    ),
    (
        "a fact of governance was told twice",
        "governance tells what partners did",
        lambda e: {"told_decisions": (*e["told_decisions"], e["told_decisions"][0])},
    ),
    (
        "a recommendation stands otherwise than partners acted",
        "recommendations stand as acted",
        lambda e: {"courses": e["courses"] | changed_one(e["courses"], stands="verified")},
    ),
    (
        "somebody says by hand that one stalled",
        "recommendations stand as acted",
        lambda e: {"courses": e["courses"] | changed_one(e["courses"], **stalled_by("secretary"))},
    ),
    (
        "the record of a dialogue keeps a count of four",
        "small counts are nowhere",
        lambda e: {"dialogues": e["dialogues"] | with_count(e, "it is kept", "displaced_women", "4")},
    ),
    (
        "the fact of a dialogue tells a count of three",
        "small counts are nowhere",
        lambda e: {
            "told_counts": {name: {**one, "government": "3"} for name, one in e["told_counts"].items()}
        },
    ),
    (
        "a count that is not small is hidden too",
        "small counts are nowhere",
        lambda e: {"dialogues": e["dialogues"] | with_count(e, "it is shown", "rural_women", "<5")},
    ),
    (
        "the police opened what the lesson closed",
        "pulls obey the lesson",
        lambda e: {"closed_cells": changed_one(e["closed_cells"], after=before_the_lesson(e))},
    ),
    (
        "no shared lesson names the version",
        "pulls obey the lesson",
        lambda e: {"closed_cells": changed_one(e["closed_cells"], lesson=None)},
    ),
    (
        "a sector goes by the protocol from before the lesson",
        "pulls obey the lesson",
        lambda e: {"closed_cells": changed_one(e["closed_cells"], in_force=dict.fromkeys(READERS, 1))},
    ),
    (
        "a release was published that nobody signed",
        "releases are as civil society signed them",
        lambda e: {"releases": changed_one(e["releases"], constituency=None)},
    ),
    (
        "a release changed after it was signed",
        "releases are as civil society signed them",
        lambda e: {"releases": changed_one(e["releases"], drafted="[]")},
    ),
    (
        "a report has a figure that was not released",
        "the report holds what was released",
        lambda e: {"report": with_line(e, "rls_2026-01,2026-01,answers,accepted; ZZ0104,15,dawn-movement")},
    ),
    (
        "a declined referral just stops",
        "no referral ends in silence",
        lambda e: {"counted": without(e["counted"], lambda each: each["type"] == "referral.closed_unmet")},
    ),
)
"""What is planted, the check that must turn red, and the parts of the evidence that it changes."""


def with_reader(evidence: Evidence, reader: str, **how: Any) -> dict[str, Any]:
    return {reader: replace(evidence["half_signed"][reader], **how)}


def changed_one(rows: Mapping[str, Any], **how: Any) -> dict[str, Any]:
    """The first of them, with other values."""
    name, row = next(iter(rows.items()))
    return {name: replace(row, **how)}


def before_the_lesson(evidence: Evidence) -> TriedPull:
    [cell] = evidence["closed_cells"].values()
    pull: TriedPull = cell.before
    return pull


def with_line(evidence: Evidence, line: str) -> dict[str, str]:
    name = next(name for name in evidence["report"] if name.endswith(RELEASED))
    return {**evidence["report"], name: f"{evidence['report'][name]}{line}\r\n"}


def stalled_by(role: str) -> dict[str, Any]:
    course = (("stalled", role),)
    return {"acted": course, "shown": course, "stands": "stalled"}


def with_count(evidence: Evidence, place: str, group: str, count: str) -> dict[str, Any]:
    [(name, dialogue)] = evidence["dialogues"].items()
    places = {**dialogue.places, place: {**dialogue.places[place], group: count}}
    return {name: replace(dialogue, places=places)}


def opened(evidence: Evidence) -> TriedPull:
    found: TriedPull = next(pull for pull in evidence["pulls"] if pull.fields)
    return found


def shows_clinical(pull: TriedPull) -> bool:
    return any(name.startswith("clinical.") for name in pull.fields)


def accepted(evidence: Evidence) -> set[str]:
    return {each.referral for each in evidence["addressed"] if each.type == "referral.accepted"}


def red(evidence: Evidence) -> list[str]:
    return [result.name for result in run_checks(evidence) if not result.holds]


def test_a_real_run_under_kills_holds(session: Session) -> None:
    problems = {result.name: result.problems for result in run_checks(session.evidence) if not result.holds}

    assert problems == {}


def test_every_check_has_a_planted_violation() -> None:
    assert {check for _, check, _ in PLANTED} == {name for name, _ in CHECKS}


@pytest.mark.parametrize(("what", "check", "plant"), PLANTED, ids=[what for what, _, _ in PLANTED])
def test_a_planted_violation_turns_exactly_its_check_red(
    session: Session, what: str, check: str, plant: Plant
) -> None:
    assert red(session.evidence | plant(session.evidence)) == [check]


def test_a_fact_that_was_told_twice_is_seen(session: Session) -> None:
    told = session.evidence["addressed"][0]
    addressed = (*session.evidence["addressed"], told)
    received = (*session.evidence["received"], told)

    assert "no effect twice" in red(session.evidence | {"addressed": addressed, "received": received})


NEVER_EMPTY: Final = frozenset({"verdict"})
"""A part that the verifier always fills."""
PARTS: Final = {part for _, check in CHECKS for part in parts_of(check)}


def test_no_part_of_the_evidence_is_gathered_for_nothing(session: Session) -> None:
    assert session.evidence.keys() == PARTS


@pytest.mark.parametrize("part", sorted(PARTS - EMPTY_WHEN_GOOD - NEVER_EMPTY))
def test_evidence_that_is_empty_is_red(session: Session, part: str) -> None:
    emptied = session.evidence | {part: type(session.evidence[part])()}
    standing = {name for name, check in CHECKS if part in parts_of(check)}

    assert standing <= set(red(emptied))
    for result in run_checks(emptied):
        assert (f"there is no evidence: {part} is empty" in result.problems) == (result.name in standing)


def test_the_run_offered_to_every_organisation_that_is_listed_only(session: Session) -> None:
    assert session.evidence["outsiders"] == dict.fromkeys(listed_only().values(), "agency_inactive")


def test_the_story_is_a_dozen_lines_and_each_entry_that_it_names_is_in_the_trail(session: Session) -> None:
    acts = {entry["index"]: entry["act"] for entry in session.evidence["entries"] if "act" in entry}
    named = [acts[int(index)] for line in session.story for index in re.findall(r"entry (\d+)", line)]

    assert len(session.story) == 12
    assert named == ["disclosure", "disclosure", "denial", "denial", "consent", "denial", "denial"]
    assert not any(marker in line for line in session.story for marker in MARKERS)


def test_a_release_that_shows_few_is_seen(session: Session) -> None:
    [(name, release)] = session.evidence["releases"].items()
    few = '[{"part": "answers", "cells": [["accepted", "ZZ0104", "7"]]}]'
    told = replace(release, drafted=few, served=few)

    assert "releases are as civil society signed them" in red(session.evidence | {"releases": {name: told}})


def test_what_was_learned_is_told_with_why_the_pull_was_refused(session: Session) -> None:
    lines = lines_of_learning(**{part: session.evidence[part] for part in parts_of(lines_of_learning)})

    assert [line for line in lines if "group_not_shared" in line and "demo-protocol.3" in line]
    assert "<5" in lines[0]
