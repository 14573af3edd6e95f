"""The one filter: what a reader sees of a fact, by the mark of each field and the protocol's matrix.

A field's mark stands in its annotation: `EVERYBODY`, some of owner, receiver and statistics, or the
`MatrixRow` that governs it. A field without a mark is seen by nobody.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from functools import cache
from typing import Any, Final, Literal, TypeVar

from schemas.wire.body import Body

Visibility = Literal["F", "C", "O", "N"]
"""Full, coarse, only if consent names the field, never by default."""
Matrix = Mapping[str, Mapping[str, Visibility]]
"""Row → reader → what it may see; a row or reader that is not named sees nothing."""
STATISTICS: Final = "referrals"
"""The matrix column of `referrals.facts` and of auditors."""
B = TypeVar("B", bound=Body)


class Audience(Flag):
    """Who sees a field that concerns the hop, not the person."""

    OWNER_ALONE = auto()
    RECEIVER_ALONE = auto()
    STATISTICS_ALONE = auto()
    PARTIES = OWNER_ALONE | RECEIVER_ALONE
    NOT_RECEIVER = OWNER_ALONE | STATISTICS_ALONE
    EVERYBODY = PARTIES | STATISTICS_ALONE


EVERYBODY: Final = Audience.EVERYBODY
PARTIES: Final = Audience.PARTIES
OWNER_ALONE: Final = Audience.OWNER_ALONE
NOT_RECEIVER: Final = Audience.NOT_RECEIVER
STATISTICS_ALONE: Final = Audience.STATISTICS_ALONE


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """The row that governs a field, and how the field's full value becomes coarse."""

    name: str
    coarse: Callable[[Any], Any]

    def seen(self, value: Any, allowed: Visibility) -> Any:
        """A value as a reader with this right sees it; None where it may not see the field.

        "O" is "N" here: whoever knows that her consent names the field says "F" in its place.
        """
        if value is None or allowed not in ("F", "C"):
            return None
        return value if allowed == "F" else self.coarse(value)


def allowed_to(row: str, reader: str, matrix: Matrix) -> Visibility:
    """What a reader may see of a row; a row or column that is missing is "N"."""
    return matrix.get(row, {}).get(reader, "N")


def minimise(fact: B, reader: str, matrix: Matrix, *, is_owner: bool = False, **changes: Any) -> B:
    """The fact as one sector, or `STATISTICS`, may see it; the owner sees more of it than the receiver.

    `changes` are set in the same copy: to whom it goes and under which number, or who must act next.
    """
    party = Audience.OWNER_ALONE if is_owner else Audience.RECEIVER_ALONE
    hidden, governed = _plan(type(fact), STATISTICS_ALONE if reader == STATISTICS else party)
    shown: dict[str, Any] = hidden | changes
    for field, row in governed:
        shown[field] = row.seen(getattr(fact, field), allowed_to(row.name, reader, matrix))
    return fact.model_copy(update=shown)


def rows_of(kind: type[Body]) -> dict[str, MatrixRow]:
    """The fields of a fact that the matrix governs, each with its row."""
    return {name: mark for name, mark in _marks(kind) if isinstance(mark, MatrixRow)}


def unmarked(kinds: Iterable[type[Body]]) -> Iterator[str]:
    """The fields whose reader nobody has decided yet."""
    return (f"{kind.type}.{name}" for kind in kinds for name, mark in _marks(kind) if mark is None)


def _marks(kind: type[Body]) -> Iterator[tuple[str, Audience | MatrixRow | None]]:
    for name, field in kind.model_fields.items():
        marks = [one for one in field.metadata if isinstance(one, (Audience, MatrixRow))]
        yield name, marks[0] if marks else None


@cache
def _plan(kind: type[Body], reader: Audience) -> tuple[dict[str, None], tuple[tuple[str, MatrixRow], ...]]:
    """Nothing for each field that this reader never sees, and those that depend on the matrix."""
    hidden = dict.fromkeys(
        name for name, mark in _marks(kind) if not (isinstance(mark, Audience) and reader in mark)
    )
    return hidden, tuple(rows_of(kind).items())
