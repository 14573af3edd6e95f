"""The one place where services learn the time."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

TEST_CLOCK: Final = "CONCERT_TEST_CLOCK_FILE"
"""Names a file that holds seconds to add: for tests of days and years; refused in mode live."""


class Clock(Protocol):
    """Tells the time; never waits, never fails."""

    def now(self) -> datetime:
        """The present instant, in UTC."""


class SystemClock:
    """The machine's clock, and what a test adds to it."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        file = os.environ.get(TEST_CLOCK)  # read each time: a test moves every process at once
        ahead = timedelta(seconds=float(Path(file).read_text())) if file else timedelta()
        return datetime.now(UTC) + ahead
