"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta
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
