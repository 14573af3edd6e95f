"""What an indicator says of itself, and the figures that it gives: counts of events, never of one person."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from pydantic_core import to_json

KEYS_MAX: Final = 2
"""How many dimensions a part has besides its month: with more, every cell would be small."""
AREA: Final = "area"
"""The dimension that stands last wherever there is one."""
_LINE: Final = re.compile(r"-- ([a-z]+): (\S.*)")
_FIELDS: Final = {"id", "title", "definition", "version", "persons"}


class Figure(NamedTuple):
    """How many events of one month fall under these keys."""

    indicator: str
    part: str
    month: str
    keys: tuple[str, ...]
    count: int  # type: ignore[assignment]  # a tuple's own `count`, which nobody asks a figure for


class IndicatorPart(NamedTuple):
    """One table of an indicator."""

    name: str
    dimensions: tuple[str, ...]
    """What its keys are, in order; an area stands last."""
    total: str
    """Which events it divides: parts of the same total, of whatever indicator, count the same ones.

    It may be another part, or one code of it as in `answers.declined`; `some ` before it says that it counts
    but a part of these events. Whoever links figures links them by this: a link that is missing is a leak.
    """


@dataclass(frozen=True, slots=True)
class Indicator:
    """What is counted, in words and as the statement that counts it."""

    id: str
    title: str
    definition: str
    version: int
    persons: bool
    """Whether it counts people's referrals, and is shown in releases alone."""
    parts: tuple[IndicatorPart, ...]
    sql: str


class IndicatorUnreadable(Exception):
    """The file of an indicator does not say what it must; says what is missing."""


def read_indicator(text: str, common: str = "") -> Indicator:
    """Read an indicator's file: lines of comment `-- key: value`, several `part`s, then one statement.

    `common` is what every statement about people's referrals begins with.
    """
    said: dict[str, str] = {}
    parts: list[IndicatorPart] = []
    for line in text.partition("\n\n")[0].splitlines():
        found = _LINE.fullmatch(line)
        if not found:
            raise IndicatorUnreadable(f"{line!r} is no line `-- key: value`")
        key, value = found.groups()
        if key == "part":
            parts.append(_part(value))
        elif key in said:
            raise IndicatorUnreadable(f"{key} stands twice")
        else:
            said[key] = value
    if said.keys() != _FIELDS or not parts or said["persons"] not in ("yes", "no"):
        raise IndicatorUnreadable(f"say {', '.join(sorted(_FIELDS))} and one part at least")
    persons = said["persons"] == "yes"
    said_of_all = {name: said[name] for name in ("id", "title", "definition")}
    sql = f"{common if persons else ''}{text}"
    return Indicator(
        **said_of_all, version=int(said["version"]), persons=persons, parts=tuple(parts), sql=sql
    )


def _part(value: str) -> IndicatorPart:
    """A part as `name; dimension, dimension; total`."""
    name, dimensions, total = (one.strip() for one in value.split(";"))
    keys = tuple(one.strip() for one in dimensions.split(",") if one.strip())
    if len(keys) > KEYS_MAX or AREA in keys[:-1]:
        raise IndicatorUnreadable(f"{name} has at most {KEYS_MAX} dimensions, an area last")
    return IndicatorPart(name, keys, total)


def span_of(month: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When a month `YYYY-MM` begins in a time zone, and when the next one does."""
    year, number = map(int, month.split("-"))
    following = (year + number // 12, number % 12 + 1)
    return datetime(year, number, 1, tzinfo=zone), datetime(*following, 1, tzinfo=zone)


def digest_of(figures: Iterable[Figure]) -> str:
    """SHA-256 of the figures, one line of JSON each, in one order."""
    digest = hashlib.sha256()
    for figure in sorted(figures):
        digest.update(to_json(figure) + b"\n")
    return digest.hexdigest()
