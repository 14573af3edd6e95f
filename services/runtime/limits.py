"""How many dead letters a partition may make before it stops: pure counting, for each partition by itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from schemas.wire.cloudevents import LetterReason

IN_A_ROW_MAX: Final = 200
"""After so many records in a row that cannot be used, a person looks before more are set aside."""
IN_A_ROW_MAX_OF: Final[Mapping[str, int]] = {LetterReason.HANDLER: 50, LetterReason.SEQUENCE_GAP: 10_000}
"""A bug shows sooner. Events behind a hole are sound and wait: only their number is bounded."""
SHARE_MAX: Final = 0.5
SAMPLE_RECORDS: Final = 1_000
"""The share is looked at from so many records on; older ones count half, and then less and less."""


@dataclass(frozen=True, slots=True)
class LetterTally:
    """What became of a partition's last records."""

    in_a_row: Mapping[str, int]
    """Letters since the last record that was applied: bugs, waits, and all others together."""
    records: int = 0
    unusable: int = 0

    def plus(self, reason: str | None) -> Self:
        """Count one more record: the reason why it became a letter, or None if it was applied."""
        in_a_row, records, unusable = {}, self.records, self.unusable
        if reason is not None:
            kind = _kind(reason)
            in_a_row = {**self.in_a_row, kind: self.in_a_row.get(kind, 0) + 1}
        if reason != LetterReason.SEQUENCE_GAP:
            records, unusable = records + 1, unusable + (reason is not None)
        if records >= 2 * SAMPLE_RECORDS:
            records, unusable = records // 2, unusable // 2
        return type(self)(in_a_row, records, unusable)

    def is_over(self, reason: str) -> bool:
        """Whether a letter of this reason was one too many."""
        kind = _kind(reason)
        return self.in_a_row.get(kind, 0) > IN_A_ROW_MAX_OF.get(kind, IN_A_ROW_MAX) or (
            self.records >= SAMPLE_RECORDS and self.unusable > SHARE_MAX * self.records
        )


NO_LETTERS: Final = LetterTally({})


def counted(tally: LetterTally, reasons: Iterable[str | None]) -> tuple[LetterTally, str | None]:
    """The tally after these records, in their order; and the reason of the first letter that was too many."""
    over = None
    for reason in reasons:
        tally = tally.plus(reason)
        if over is None and reason is not None and tally.is_over(reason):
            over = reason
    return tally, over


def _kind(reason: str) -> str:
    return reason if reason in IN_A_ROW_MAX_OF else ""
