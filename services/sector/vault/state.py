"""What a vault must not forget: its ledger, the entries it opened upon, the newest head. All on disk."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.events.consent import Closure
from schemas.trail.bytes import decoded, encoded
from services.runtime.durable_files import append, write_durably
from services.sector.vault.faults import VaultRefusal

FEED_ROWS_MAX: Final = 500
Seconds = Callable[[], float]


class Ledger:
    """Keysets and consent versions that nothing is released upon any more: rows 1, 2, … without gap.

    The vault can only add to it. A row is on disk before it is acknowledged.
    """

    def __init__(self, file: Path, *, is_new: bool) -> None:
        self._file = file
        self._rows: list[Closure] = []
        self._ids: set[str] = set()
        self._rebuilt: list[Closure] = []
        self.why_closed: str | None = None
        if is_new:
            append(file, b"")
        self._read()

    @property
    def newest(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def close(self, rows: Sequence[Closure], newest: int) -> Sequence[Closure]:
        """Add rows, and compare with how many the database holds; returns those that it lacks.

        A database with fewer rows is an older copy: the vault closes until it was fed. One with other rows
        has gone on as an older copy, and only a rebuild opens the vault again.
        """
        if self.why_closed == "state_lost":
            raise VaultRefusal("state_lost")
        fresh = [row for row in rows if row.n > self.newest]
        if any(row != self._rows[row.n - 1] for row in rows if row.n <= self.newest):
            self.why_closed = "ledger_conflict"
            raise VaultRefusal("ledger_conflict")
        if [row.n for row in fresh] != [*range(self.newest + 1, self.newest + 1 + len(fresh))]:
            raise VaultRefusal("ledger_gap")
        if any(row.id in self._ids for row in fresh) or len({row.id for row in fresh}) < len(fresh):
            self.why_closed = "ledger_conflict"
            raise VaultRefusal("ledger_conflict")
        if fresh:
            append(self._file, b"".join(_line(row) for row in fresh))
            self._keep(fresh)
        if self.why_closed != "ledger_conflict":
            self.why_closed = "ledger_behind" if newest < self.newest else None
        return self._rows[newest : newest + FEED_ROWS_MAX]

    def rebuild(self, rows: Sequence[Closure], newest: int) -> int:
        """Take rows that the trail proves, from the first on; once all are there, they are the ledger.

        Only where it was lost, or its database went on as another one: else it can only be added to.
        """
        if self.why_closed not in ("state_lost", "ledger_conflict"):
            raise VaultRefusal("ledger_sound")
        before = [] if rows[0].n == 1 else self._rebuilt
        if [row.n for row in rows] != [*range(len(before) + 1, len(before) + 1 + len(rows))]:
            raise VaultRefusal("ledger_gap")
        self._rebuilt = [*before, *rows]
        if len(self._rebuilt) < newest:
            return len(self._rebuilt)
        if newest < self.newest:
            raise VaultRefusal("ledger_gap")
        write_durably(self._file, b"".join(_line(row) for row in self._rebuilt))
        self._rows, self._ids = [], set()
        self._keep(self._rebuilt)
        self._rebuilt, self.why_closed = [], None
        return self.newest

    def _keep(self, rows: Sequence[Closure]) -> None:
        self._rows += rows
        self._ids.update(row.id for row in rows)

    def _read(self) -> None:
        try:
            lines = self._file.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            self.why_closed = "state_lost"
            return
        if lines and not lines[-1].endswith(b"\n"):
            # A crash within an append: that row was never acknowledged, and comes again.
            os.truncate(self._file, sum(map(len, lines[:-1])))
            del lines[-1]
        try:
            rows = [Closure.model_validate_json(line) for line in lines]
        except ValidationError:
            rows = []
        if [row.n for row in rows] != [*range(1, len(lines) + 1)]:
            self.why_closed = "state_lost"
            return
        self._keep(rows)


class OpenEntries:
    """Entries of the trail that releases rested on and whose publication nobody has proved yet.

    Appended without fsync: a killed vault still finds them, and owes their proof anew.
    """

    def __init__(self, file: Path, within: timedelta, clock: Seconds) -> None:
        self._file = file
        self._within = within.total_seconds()
        self._clock = clock
        self._waiting: dict[int, tuple[bytes, float]] = {}
        if file.exists():
            lines = [line.split() for line in file.read_text("ascii").splitlines()]
            self._waiting = {int(line[0]): (decoded(line[1]), clock()) for line in lines if len(line) == 2}
        self._rewrite()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> Mapping[int, bytes]:
        """Index → leaf hash, the oldest first."""
        return {index: leaf for index, (leaf, _) in self._waiting.items()}

    @property
    def is_overdue(self) -> bool:
        """Whether the oldest has waited for too long."""
        oldest = next(iter(self._waiting.values()), None)
        return oldest is not None and self._clock() - oldest[1] > self._within

    def add(self, index: int, leaf: bytes) -> None:
        """Remember an entry, before anything is released upon it."""
        append(self._file, _entry(index, leaf), durably=False)
        self._waiting[index] = (leaf, self._clock())

    def settle(self, indexes: Sequence[int]) -> None:
        """Forget those that were proved."""
        for index in indexes:
            del self._waiting[index]
        if indexes:
            self._rewrite()

    def _rewrite(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        append(fresh, b"".join(_entry(*waiting) for waiting in self.waiting.items()), durably=False)
        fresh.replace(self._file)


def _entry(index: int, leaf: bytes) -> bytes:
    return f"{index} {encoded(leaf)}\n".encode("ascii")


def _line(row: Closure) -> bytes:
    return row.model_dump_json().encode() + b"\n"
