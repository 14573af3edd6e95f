"""How long the size that is due has waited for the signer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

NOTHING_SIGNED: Final = -1
"""The size of no checkpoint: that of an empty log waits to be signed too."""


@dataclass(slots=True)
class CheckpointLag:
    """Remembers the first due size that no checkpoint covers, and since when it waits."""

    waits_max: timedelta
    waits_since: datetime | None = None
    _size: int = 0

    def look(self, due_size: int, signed_size: int, now: datetime) -> None:
        """Take in what is due and what is signed."""
        if signed_size >= self._size:
            self.waits_since = None
        if self.waits_since is None and due_size > signed_size:
            self._size, self.waits_since = due_size, now

    def is_late(self, now: datetime) -> bool:
        """Whether a size has waited too long: the signer has halted or is gone."""
        return self.waits_since is not None and now - self.waits_since > self.waits_max
