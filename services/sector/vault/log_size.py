"""The largest signed size of the trail's log that a checker saw: on disk, for a restart must not forget it.

A trail that was put back whole, its signer's file too, permits on a shorter log; its checkers alone know.
"""

import fcntl
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.trail.bytes import TrailFault
from schemas.trail.notes import read_size_line, size_line
from services.runtime.durable_files import PRIVATE, write_durably

KEPT_EVERY_SECONDS: Final = 5.0
"""How often the file is written at most: while the log grows it is signed each second."""


class LogSizeUnreadable(Exception):
    """The file says nothing that can be right; restore it, or take it away and look at the trail first."""


class LogSize:
    """The size by which a smaller log is known; without a file it lasts as long as the process."""

    def __init__(
        self, file: Path | None, origin: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._origin = origin
        self._monotonic = monotonic
        self._kept_at = -math.inf
        kept = self._read()
        self.follows_another = kept is not None and kept[0] != origin
        """Whether the file is another log's: this one began anew."""
        self.largest = self._kept = kept[1] if kept and kept[0] == origin else 0

    def see(self, size: int) -> None:
        """Take in a signed size; the first goes to disk at once, and what follows now and then."""
        self.largest = max(self.largest, size)
        now = self._monotonic()
        if self._file is None or self.largest == self._kept or now - self._kept_at < KEPT_EVERY_SECONDS:
            return
        beside = os.open(self._file.with_name(f"{self._file.name}.lock"), os.O_WRONLY | os.O_CREAT, PRIVATE)
        with os.fdopen(beside, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process of this service writes, perhaps less: the next look writes
            kept = self._read()
            if kept and kept[0] == self._origin:  # another process may have seen more
                self.largest = max(self.largest, kept[1])
            write_durably(self._file, size_line(self._origin, self.largest).encode())
            self._kept, self._kept_at = self.largest, now

    def _read(self) -> tuple[str, int] | None:
        try:
            return read_size_line(self._file.read_text("ascii")) if self._file else None
        except FileNotFoundError:
            return None
        except (TrailFault, UnicodeDecodeError):
            raise LogSizeUnreadable(str(self._file)) from None
