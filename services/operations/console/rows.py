"""The rows of the pages' tables, made of figures; counts that would say what an agency did are kept small."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

from schemas.topics import TOPICS, written_by
from services.operations.console.figures import LetterFigures, LettersFigures, OneLetter, PlanFigures
from services.operations.console.terms import signal, term
from services.operations.domain.probes import ProbePair
from services.operations.domain.streams import PartsStanding, StreamsStanding
from services.runtime.alarms import RULES
from services.runtime.pages.console import Freshness
from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import (
    Cell,
    Link,
    Mark,
    Moment,
    Row,
    Seconds,
    Sentence,
    Share,
    Signal,
    Term,
    Trend,
)

AnyFigures = TypeVar("AnyFigures", StreamsStanding, PartsStanding, LettersFigures)
LETTERS_PATH: Final = "/ops/dead-letters"
FEW: Final = "<5"
FEW_BELOW: Final = 5
"""Smaller counts of what concerns people say which agency did something in which hour."""
FEW_LETTERS: Final = re.compile(r"\([1-4]\)$")
"""How an alarm says at its end that it is about so few."""
UNKNOWN: Final = Term("", _("unknown"))
OPEN_TOPICS: Final = frozenset(topic.name() for topic in TOPICS if not topic.is_restricted)
CHOSEN: Final = {"code": _("Code"), "topic": _("Topic"), "type": _("Type"), "id": _("Letter")}
WORST_FIRST: Final = ("stalled", "unknown", "slow", "ok")
HOURS: Final = 24
UNSEEN_AFTER: Final = timedelta(minutes=15)
"""Samples of a history lie ten minutes apart."""
CERTIFICATE_ENDS_SOON: Final = timedelta(hours=6)
"""They last a day, and are renewed after half of it."""


def concerns_people(topic: str) -> bool:
    """Whether a topic's counts do; one that is not known does."""
    return topic[max(topic.find("concert."), 0) :] not in OPEN_TOPICS


def title_of(topic: str) -> str:
    """A topic's name without what all names have in common."""
    return topic[max(topic.find("concert."), 0) :].removeprefix("concert.").removesuffix(".v1")


def shown_count(count: float | None, *, of_people: bool) -> Cell:
    """A count, or that it is under five where that would tell of people."""
    if count is None:
        return UNKNOWN
    return FEW if of_people and 0 < count < FEW_BELOW else round(count)


@dataclass(frozen=True, slots=True)
class Reading(Generic[AnyFigures]):
    """Figures, and how fresh they are."""

    figures: AnyFigures
    freshness: Freshness


def readers(source: Reading[StreamsStanding]) -> list[Row]:
    """Each reader of each topic, the worst first."""
    return [
        (
            one.service,
            title_of(one.topic),
            signal(one.verdict, is_stale=source.freshness.is_stale),
            Sentence(one.words),
            _seconds(one.lag_seconds),
            shown_count(one.lag_messages, of_people=concerns_people(one.topic)),
            Trend(_broken(one.history)),
            _seconds(one.commit_age_seconds),
            UNKNOWN if one.members is None else one.members,
        )
        for one in sorted(
            source.figures.groups, key=lambda one: (_place(one.verdict), one.service, one.topic)
        )
    ]


def verdicts(source: Reading[StreamsStanding]) -> list[tuple[Signal, int]]:
    """How many streams have which verdict, the worst first."""
    counts = Counter(one.verdict for one in source.figures.groups)
    shown = sorted(counts.items(), key=lambda one: _place(one[0]))
    return [(signal(code, is_stale=source.freshness.is_stale), count) for code, count in shown]


def probe(source: Reading[StreamsStanding]) -> list[Row]:
    """Each pair of probes, those that fail first."""
    pairs = source.figures.probe.pairs if source.figures.probe else ()
    return [
        (
            one.owner,
            one.receiver,
            signal(_probe_state(one), is_stale=source.freshness.is_stale),
            _seconds(one.seconds),
            _moment(one.succeeded_at),
            Moment(one.failing_since) if one.failing_since else "",
        )
        for one in sorted(pairs, key=lambda one: (one.failing_since is None, one.owner, one.receiver))
    ]


def probe_told(source: Reading[StreamsStanding]) -> list[tuple[str, Cell]]:
    """What is known of the probe besides."""
    told = source.figures.probe
    failed = tuple(Term(one.code, one.code, one.count) for one in (told.failed if told else ()))
    return [
        (_("Last seen in the arbiter’s facts"), _moment(told.facts_seen_at if told else None)),
        (_("Rounds that failed in a day"), failed or 0),
    ]


def _probe_state(pair: ProbePair) -> str:
    if pair.failing_since:
        return "missing"
    return "seen" if pair.succeeded_at else "unknown"


def hours(source: Reading[StreamsStanding]) -> list[Row]:
    """What the drawings show: of each hour the longest lag, the newest hour first."""
    rows: list[Row] = []
    columns = hours_of(source.figures)
    for one in sorted(source.figures.groups, key=lambda one: (one.service, one.topic)):
        most: dict[datetime, float] = {}
        for at, seconds in one.history:
            hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            if seconds is not None:
                most[hour] = max(seconds, most.get(hour, 0))
        rows.append((one.service, title_of(one.topic), *(_seconds(most.get(hour)) for hour in columns)))
    return rows


def hours_of(figures: StreamsStanding) -> list[datetime]:
    """The hours that `hours` has columns for."""
    if figures.as_of is None:
        return []
    newest = figures.as_of.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [newest - timedelta(hours=ago) for ago in range(HOURS)]


def outboxes(source: Reading[StreamsStanding]) -> list[Row]:
    """What each service has still to send."""
    return [
        (
            one.service,
            shown_count(one.pending, of_people=any(topic.is_restricted for topic in written_by(one.service))),
            _seconds(one.oldest_seconds),
        )
        for one in sorted(source.figures.outboxes, key=lambda one: one.service)
    ]


def rates(source: Reading[StreamsStanding]) -> list[Row]:
    """What is written to each topic."""
    return [
        (title_of(one.topic), shown_count(one.per_minute, of_people=concerns_people(one.topic)))
        for one in sorted(source.figures.rates, key=lambda one: one.topic)
    ]


def troubled(figures: PartsStanding) -> list[str]:
    """Parts that do not answer, or of which a rule fires."""
    return sorted({one.name for one in figures.parts if one.state != "answers" or one.alarms})


def parts(source: Reading[PartsStanding]) -> list[Row]:
    """Each part; those that something is the matter with first."""
    return [
        (
            one.name,
            signal(one.state, is_stale=source.freshness.is_stale),
            _moment(one.answered_at),
            one.version or UNKNOWN,
            _moment(one.started_at),
            UNKNOWN if one.restarts is None else one.restarts,
            _ends(one.certificate_ends_at, source.freshness.now),
            Mark(len(one.alarms), "") if one.alarms else 0,
        )
        for one in sorted(
            source.figures.parts, key=lambda one: (one.state == "answers", not one.alarms, one.name)
        )
    ]


def alarms(source: Reading[PartsStanding]) -> list[Row]:
    """Every rule that fires, the oldest first."""
    found = [(alarm, part.name) for part in source.figures.parts for alarm in part.alarms]
    return [
        (
            part,
            alarm.rule,
            FEW_LETTERS.sub(f"({FEW})", alarm.where),
            Moment(alarm.since),
            Sentence(RULES.get(alarm.rule, "")),
        )
        for alarm, part in sorted(found, key=lambda one: (one[0].since, one[1]))
    ]


def letters(source: Reading[LettersFigures]) -> list[Row]:
    """Each kind of waiting letter; its code leads to the acts on it, its oldest letter to what is known."""
    return [
        (
            Link(one.code, f"{LETTERS_PATH}?{urlencode(choice_of(one))}"),
            one.service,
            title_of(one.topic),
            one.type or UNKNOWN,
            shown_count(one.count, of_people=concerns_people(one.topic)),
            _moment(one.since),
            Link(one.oldest, f"{LETTERS_PATH}/{one.service}/{one.oldest}") if one.oldest else None,
        )
        for one in sorted(
            source.figures.letters, key=lambda one: (one.service, one.topic, one.code, one.type or "")
        )
    ]


def choice_of(kind: LetterFigures) -> Mapping[str, str]:
    """What chooses the letters of one kind."""
    given = {"service": kind.service, "code": kind.code, "topic": kind.topic, "type": kind.type}
    return {name: value for name, value in given.items() if value}


def attributes(letter: OneLetter) -> list[tuple[str, Cell]]:
    """What is known of one letter."""
    return [
        (_("Letter"), letter.id),
        (_("State"), signal(letter.state)),
        (_("Code"), letter.code),
        (_("Place of the fault"), letter.path),
        (_("Type"), letter.type),
        (_("Topic"), letter.topic),
        (_("Partition"), str(letter.partition)),
        (_("Offset"), str(letter.offset)),
        (_("Size, in bytes"), letter.bytes),
        (_("Attempts"), letter.attempts),
        (_("Written"), _moment(letter.record_at)),
        (_("First tried"), Moment(letter.first_at)),
        (_("Last tried"), Moment(letter.last_at)),
    ]


def boxes(source: Reading[PartsStanding]) -> list[tuple[str, Cell]]:
    """What the whole installation rests on."""
    figures, free = source.figures, source.figures.disk_free_bytes
    offer = figures.oldest_offer_seconds
    return [
        (_("Disk free"), UNKNOWN if free is None else Share(100 * free // max(figures.disk_bytes or 0, 1))),
        (_("Age of the trail’s last signed head"), _seconds(figures.checkpoint_age_seconds)),
        (_("Oldest offer without answer"), UNKNOWN if offer is None else Seconds(60 * -(-offer // 60))),
        (_("Last backup"), Moment(figures.last_backup_at) if figures.last_backup_at else Mark(UNKNOWN, "")),
    ]


def plan_attributes(plan: PlanFigures) -> list[tuple[str, Cell]]:
    """What a plan would do, and how far it is."""
    chosen = [(CHOSEN.get(name, name), value) for name, value in plan.chosen.items() if value]
    still = tuple(Term(code, code, count) for code, count in plan.still.items())
    progress = tuple(Term(code, term(code).text, count) for code, count in plan.progress.items())
    lasts = plan.count / plan.rate_per_second if plan.rate_per_second else None
    rows: list[tuple[str, Cell]] = [
        (_("Plan"), plan.id),
        (_("Reader"), plan.service),
        *chosen,
        (_("Letters"), plan.count),
        (_("Can be read now"), plan.readable),
        (_("Cannot be read now"), still),
        (_("Letters a second"), plan.rate_per_second),
        (_("Lasts about"), Seconds(lasts) if lasts else None),
        (_("Holds until"), Moment(plan.expires_at)),
        (_("Planned by"), plan.made_by),
        (_("Why"), plan.reason),
        (_("Approved by"), plan.approved_by),
        (_("So far"), progress),
        (_("Failed for"), plan.failure),
    ]
    return [(title, value) for title, value in rows if value not in (None, ())]


def _broken(history: Sequence[tuple[datetime, float | None]]) -> list[tuple[datetime, float | None]]:
    """A history with a gap wherever nobody looked."""
    points: list[tuple[datetime, float | None]] = []
    for at, seconds in history:
        if points and at - points[-1][0] > UNSEEN_AFTER:
            points.append((points[-1][0] + UNSEEN_AFTER / 2, None))
        points.append((at, seconds))
    return points


def _place(verdict: str) -> int:
    return WORST_FIRST.index(verdict) if verdict in WORST_FIRST else 1


def _moment(at: datetime | None) -> Cell:
    return Moment(at) if at else UNKNOWN


def _seconds(count: float | None) -> Cell:
    return UNKNOWN if count is None else Seconds(count)


def _ends(at: datetime | None, now: datetime) -> Cell:
    if at is None:
        return UNKNOWN
    return Mark(Moment(at), _("ends soon")) if at - now < CERTIFICATE_ENDS_SOON else Moment(at)
