"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

NOON: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)


class StoppedClock:
    """Shows one instant; `forward` moves it."""

    def __init__(self, at: datetime = NOON) -> None:
        self._at = at

    def now(self) -> datetime:
        """The instant at which it stands."""
        return self._at

    def forward(self, by: timedelta) -> datetime:
        """Move it, and say where it stands now."""
        self._at += by
        return self._at


class MovedClock:
    """The clock of an installation under test, whose processes read in a file how far it is ahead."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._ahead = timedelta()
        self.move_to(datetime.now(UTC))

    def now(self) -> datetime:
        """What every process takes for the present."""
        return datetime.now(UTC) + self._ahead

    def move_to(self, at: datetime) -> None:
        """Let it be that time from now on, everywhere at once."""
        self._ahead = at - datetime.now(UTC)
        fresh = self.file.with_suffix(".new")
        fresh.write_text(str(self._ahead.total_seconds()))
        fresh.chmod(0o644)
        fresh.replace(self.file)
