"""The one place where services learn the time."""

import os
import time
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
        return machine_time() + added_by_test()


class SteadyClock:
    """For how long something lasts: the machine's clock as it was once, and the seconds since."""

    def __init__(self) -> None:
        self._at = machine_time() - running_time()

    def now(self) -> datetime:
        """The instant, as far as this clock was right at its beginning."""
        return self._at + running_time() + added_by_test()


def machine_time() -> datetime:
    """The machine's clock, with nothing added."""
    return datetime.now(UTC)


def running_time() -> timedelta:
    """The time since some beginning, also while the machine slept, by a clock that nobody sets."""
    kind = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return timedelta(seconds=time.clock_gettime(kind))


def added_by_test() -> timedelta:
    """What a test adds to the machine's clock."""
    file = os.environ.get(TEST_CLOCK)  # read each time: a test moves every process at once
    return timedelta(seconds=float(Path(file).read_text())) if file else timedelta()
