"""Tables of a page: one description gives the table that people read and the CSV that machines read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Generic, Literal, TypeVar

Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Term:
    """A code, and what people call it; with a number where it is counted."""

    code: str
    text: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """So many per cent."""

    per_cent: int


@dataclass(frozen=True, slots=True)
class Month:
    """A month as `2027-02`."""

    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A cell that people should look at, and why."""

    cell: "Cell"
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant, to the minute; to the second where it says nothing of anybody."""

    at: datetime
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long something lasts."""

    count: float


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that is in English in every language, such as a rule's."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A text that leads somewhere on this site."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A state that has a shape besides its word, because a colour alone tells not everybody."""

    level: Literal["good", "warning", "bad", "unknown"]
    term: Term


@dataclass(frozen=True, slots=True)
class Trend:
    """Values over time for a small drawing; where one is not known, the line is broken."""

    points: Sequence[tuple[datetime, float | None]]


Cell = (
    str | int | float | date | Term | Share | Month | Mark | tuple[Term, ...] | None
    | Moment | Seconds | Sentence | Link | Signal | Trend
)  # fmt: skip
"""What stands in a row; a text is an id or another value as it stands, nothing is nothing yet."""
Row = Sequence[Cell]


@dataclass(frozen=True, slots=True)
class PageTable(Generic[Source]):
    """A table: its columns by id and title, its rows, and what is said where there are none."""

    id: str
    title: str
    about: str
    columns: Mapping[str, str]
    rows: Callable[[Source], Sequence[Row]]
    empty: str


@dataclass(frozen=True, slots=True)
class TableRows:
    """A table with its rows, as a page shows it."""

    table: PageTable[Any]
    rows: Sequence[Row]


def plain(cell: Cell) -> object:
    """A cell for machines: codes, digits and days of ISO 8601, whatever the language."""
    match cell:
        case Mark(inner):
            return plain(inner)
        case Term(code, _, count):
            return code if count is None else f"{code} {count}"
        case Share(value) | Month(value) | Sentence(value) | Seconds(value) | Link(value):
            return value
        case Signal(_, term):
            return plain(term)
        case Moment(at, is_exact):
            spelled = at.astimezone(UTC).isoformat(timespec="seconds" if is_exact else "minutes")
            return spelled.replace("+00:00", "Z")
        case Trend(points):
            return plain(max((value for _, value in points if value is not None), default=None))
        case date():
            return cell.isoformat()[:10]
        case tuple():
            return "; ".join(str(plain(one)) for one in cell)
    return "" if cell is None else cell
