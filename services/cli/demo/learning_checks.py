"""What the partners of a run learned, and showed: the evidence, and the checks that stand on it."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

from schemas.events.dialogue import SMALL
from schemas.events.partnership import CIVIL
from services.cli.demo.packet_checks import TriedPull
from services.cli.demo.partner_checks import READERS

STATES: Final = ("proposed", "agreed", "assigned", "progressed", "implemented", "verified")
"""How far a recommendation can come."""
STALLED, BY_CLOCK = "stalled", "clock"
SMALL_BELOW: Final = 5
CLOSED: Final = "group_not_shared"
"""How a pull is refused of what a protocol no longer shares."""
RELEASED: Final = "-released.csv"
"""How the name of the report's file ends in which released figures stand."""
PUBLISHED: Final = "published"
HIDDEN: Final = ("<11", "*", "-")
SHOWN_LEAST: Final = 10
SHOWN_STEP: Final = 5
"""Counts from eleven up are rounded to five, so ten is the least that may be read."""

Course = tuple[tuple[str, str], ...]
"""Each state that a recommendation came to, and the role in which somebody brought it there."""
Counts = Mapping[str, str]
"""Constituency or group → how many of it took part, as it stands somewhere."""


@dataclass(frozen=True, slots=True)
class RecommendationCourse:
    """What became of one recommendation: as the demo acted, and as governance shows it."""

    acted: Course
    shown: Course
    stands: str


@dataclass(frozen=True, slots=True)
class DialogueCount:
    """How many took part, as the convenor said it, and as it stands in each place."""

    said: Mapping[str, int]
    places: Mapping[str, Counts]


@dataclass(frozen=True, slots=True)
class ServedRelease:
    """A release of figures as it was before its signature, who signed, and what is served since."""

    state: str
    signed_by: str | None
    constituency: str | None
    """For whom the signing partner speaks."""
    drafted: str
    """Its tables as JSON, before anybody signed."""
    served: str


@dataclass(frozen=True, slots=True)
class ClosedCell:
    """A cell that a version of a protocol shares no longer, and the same pull before it and after."""

    recipient: str
    group: str
    lesson: str | None
    """The version that the shared lesson names."""
    before: TriedPull
    after: TriedPull
    in_force: Mapping[str, int]
    """Reader → the version that it goes by."""


def counts_of(participants: Mapping[str, Any]) -> Counts:
    """Every count of a dialogue in one table."""
    return {**participants["by_constituency"], **participants["by_group"]}


def recommendations_stand(courses: Mapping[str, RecommendationCourse]) -> list[str]:
    """Every recommendation stands as partners acted, each state was reached, and the clock alone stalls."""
    problems = [
        f"recommendation {name} is {one.stands} after {one.shown}, acted was {one.acted}"
        for name, one in courses.items()
        if one.shown != one.acted or one.stands != one.acted[-1][0]
    ]
    stalls = {role for one in courses.values() for state, role in one.shown if state == STALLED}
    if stalls != {BY_CLOCK}:
        problems.append(f"it was told by {', '.join(sorted(stalls)) or 'nobody'} that one stalled")
    stand = {one.stands for one in courses.values()}
    return problems + [f"none is {state}" for state in STATES if state not in stand]


def small_counts_are_nowhere(
    dialogues: Mapping[str, DialogueCount], told_counts: Mapping[str, Counts]
) -> list[str]:
    """Wherever a dialogue's counts stand, one to four are `<5`, and the others as they were said."""
    return [
        f"dialogue {name}: {group} is {counts.get(group)} where {place}"
        for name, one in dialogues.items()
        for place, counts in {**one.places, "it is told": told_counts.get(name, {})}.items()
        for group, count in one.said.items()
        if counts.get(group) != (SMALL if 0 < count < SMALL_BELOW else str(count))
    ]


def pulls_obey_the_lesson(closed_cells: Mapping[str, ClosedCell]) -> list[str]:
    """What partners learned to keep opened before; under the next version, in force everywhere, no more."""
    problems = []
    for name, cell in closed_cells.items():
        before, after, version = cell.before, cell.after, int(name.rpartition(".")[2])
        if not any(field.startswith(f"{cell.group}.") for field in before.fields):
            problems.append(f"{before.agency} opened no {cell.group} before {name}")
        if after.code != CLOSED or after.fields:
            problems.append(f"{after.agency} asked for {cell.group} under {name}: {after.code or 'opened'}")
        if cell.lesson != name:
            problems.append(f"the lesson that is shared names {cell.lesson}, not {name}")
        behind = [reader for reader in READERS if cell.in_force.get(reader) != version]
        problems += [f"{reader} does not go by {name}" for reader in behind]
    return problems


def releases_are_as_signed(releases: Mapping[str, ServedRelease]) -> list[str]:
    """Civil society signs before anything is published; what is served is what it signed, nobody is in it."""
    problems = []
    for name, one in releases.items():
        if one.state == PUBLISHED and one.constituency not in CIVIL:
            problems.append(f"release {name} is published, and signed by {one.signed_by or 'nobody'}")
        if one.served != one.drafted:
            problems.append(f"release {name} is served otherwise than it was signed")
        telling = sorted({said for said in shown_in(one.served) if not _tells_nobody(said)})
        problems += [f"release {name} shows {said}, which tells of few" for said in telling]
    return problems


def report_holds_the_releases(report: Mapping[str, str], releases: Mapping[str, ServedRelease]) -> list[str]:
    """The report's file of figures holds each cell of each published release as it is served, and no more."""
    [name] = [file for file in report if file.endswith(RELEASED)] or [""]
    rows = list(csv.reader(StringIO(report.get(name, ""))))[1:]
    told: Counter[tuple[str, ...]] = Counter(tuple(cell.removeprefix("'") for cell in row) for row in rows)
    wanted: Counter[tuple[str, ...]] = Counter(
        (release, release.partition("_")[2], table["part"], "; ".join(keys), said, one.signed_by or "")
        for release, one in releases.items()
        if one.state == PUBLISHED
        for table in json.loads(one.served)
        for *keys, said in table["cells"]
    )
    return [
        f"the report has {told[row]} times what was released {wanted[row]} times: {', '.join(row)}"
        for row in sorted(told.keys() | wanted.keys())
        if told[row] != wanted[row]
    ]


LEARNING_CHECKS: Final[tuple[tuple[str, Callable[..., list[str]]], ...]] = (
    ("recommendations stand as acted", recommendations_stand),
    ("small counts are nowhere", small_counts_are_nowhere),
    ("pulls obey the lesson", pulls_obey_the_lesson),
    ("releases are as civil society signed them", releases_are_as_signed),
    ("the report holds what was released", report_holds_the_releases),
)


def lines_of_learning(
    courses: Mapping[str, RecommendationCourse],
    dialogues: Mapping[str, DialogueCount],
    closed_cells: Mapping[str, ClosedCell],
    releases: Mapping[str, ServedRelease],
) -> list[str]:
    """What the partners learned, in lines to be read aloud."""
    [dialogue] = dialogues.values()
    small = [group.replace("_", " ") for group, count in dialogue.said.items() if 0 < count < SMALL_BELOW]
    stand = sorted(one.stands for one in courses.values())
    [(name, cell)] = closed_cells.items()
    opened = _fields(cell.before.fields, cell.group)
    [(release, its)] = releases.items()
    numbers = sum(said not in HIDDEN for said in shown_in(its.served))
    return [
        f"{len(dialogue.said)} groups and constituencies spoke with each other; so few of {_and(small)} came "
        f"that their number is kept nowhere: {SMALL}.",
        f"They recommended {len(courses)} things, which now are {_and(stand)}.",
        f"{cell.before.agency} could learn {cell.group} ({opened}): entry {cell.before.entry}.",
        f"They learned that this kept people from the {cell.recipient}, and {name} closes that cell: "
        f"{cell.after.agency} was refused it at the next referral, {cell.after.code}.",
        f"{its.signed_by} signed release {release}: {numbers} counts, rounded to {SHOWN_STEP}; each other "
        "cell is hidden.",
    ]


def shown_in(tables: str) -> list[str]:
    """What a release's tables show, cell by cell; every cell that they do not list is hidden."""
    return [cell[-1] for table in json.loads(tables) for cell in table["cells"]]


def _tells_nobody(said: str) -> bool:
    return said in HIDDEN or (said.isdecimal() and int(said) >= SHOWN_LEAST and not int(said) % SHOWN_STEP)


def _fields(names: Sequence[str], group: str) -> str:
    return ", ".join(name.partition(".")[2].replace("_", " ") for name in names if name.startswith(group))


def _and(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
