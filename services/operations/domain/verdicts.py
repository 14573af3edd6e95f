"""How a reader of a stream does: a table of rules, of which the first that holds is the verdict; pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["ok", "slow", "stalled", "unknown"]

LOOKS_WITHIN_SECONDS: Final = 8.0
"""A reader looks at brokers and database every four seconds; two looks missed, and it does not read."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Below how many seconds nothing is said of a group."""

    slow: float = 30.0
    stalled: float = 8.0
    """Of both: records wait for so long, and nothing was committed for so long."""


FLOORS: Final[Mapping[str, Floor]] = {"referrals_views": Floor(slow=60.0, stalled=30.0)}
"""Service or view → its floor, where it is another: a view reads its tables back first."""


@dataclass(frozen=True, slots=True)
class StreamSight:
    """What one look found of a group and a topic; None is what nobody knows."""

    answers: bool | None
    """Whether its service answered, twice asked; None where there is none to ask."""
    answer_is_sound: bool = True
    """Whether what it answered has the listed fields, and no other."""
    is_beyond_end: bool = False
    """Whether it says to be where its log does not reach."""
    reads_on: bool = False
    """Whether the brokers saw it get on between two looks in which its service did not answer."""
    members: int | None = None
    look_age_seconds: float | None = None
    """How long ago its reader last saw brokers and database."""
    lag_messages: int | None = None
    lag_seconds: float | None = None
    """For how long its log has been seen to reach beyond where it is, in the partition that waits longest."""
    standing_seconds: float | None = None
    """For how long records have waited in one partition while it committed nothing there, at the most."""


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """One line of the table: what it is called, what it says, and when it holds."""

    name: str
    verdict: Verdict
    words: str
    holds: Callable[[StreamSight, Floor], bool]


RULES: Final = (
    VerdictRule(
        "unsound_answer", "unknown", "Its service answers what no release of this kind does.",
        lambda seen, _: not seen.answer_is_sound,
    ),
    VerdictRule(
        "beyond_end", "unknown", "It says to be where its log does not reach; see `concert readers list`.",
        lambda seen, _: seen.is_beyond_end,
    ),
    VerdictRule(
        "silent_but_reads", "unknown", "Its service does not answer, yet the brokers see it read on.",
        lambda seen, _: seen.answers is False and seen.reads_on,
    ),
    VerdictRule(
        "silent", "stalled", "Its service does not answer; see whether it runs.",
        lambda seen, _: seen.answers is False,
    ),
    VerdictRule(
        "reader_stands", "stalled", "Its reader has not seen brokers and database for {look} s.",
        lambda seen, _: (seen.look_age_seconds or 0) >= LOOKS_WITHIN_SECONDS,
    ),
    VerdictRule(
        "nobody_reads", "stalled", "Its service runs, and nobody is in its group.",
        lambda seen, _: seen.members == 0,
    ),
    VerdictRule(
        "nothing_known", "unknown", "Where its log ends, or where it is, nobody can say now.",
        lambda seen, _: seen.lag_messages is None or seen.lag_seconds is None,
    ),
    VerdictRule(
        "stands", "stalled", "Records have waited for {standing} s while it committed nothing.",
        lambda seen, floor: (seen.standing_seconds or 0) >= floor.stalled,
    ),
    VerdictRule(
        "late", "slow", "It reads on, {lag} s behind; it may do so up to {slow} s.",
        lambda seen, floor: (seen.lag_seconds or 0) >= floor.slow,
    ),
    VerdictRule(
        "unseen", "unknown", "It has read all there is; whether it would read on, nobody can say now.",
        lambda seen, _: seen.members is None and seen.look_age_seconds is None,
    ),
    VerdictRule("reads", "ok", "It reads what comes.", lambda _, __: True),
)  # fmt: skip
"""The first that holds. A reader that was not seen to be there is never `ok`, however little it is behind."""


def judge(seen: StreamSight, floor: Floor) -> VerdictRule:
    """The rule that holds."""
    return next(rule for rule in RULES if rule.holds(seen, floor))


def floor_of(name: str) -> Floor:
    """Below what nothing is said of this service or view."""
    return FLOORS.get(name, Floor())


def told(rule: VerdictRule, seen: StreamSight, floor: Floor) -> str:
    """The rule in words, with the figures for which it holds."""
    return rule.words.format(
        lag=round(seen.lag_seconds or 0),
        standing=round(seen.standing_seconds or 0),
        look=round(seen.look_age_seconds or 0),
        slow=round(floor.slow),
    )
