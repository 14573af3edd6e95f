"""The one place where services learn the time."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from services.runtime.alarms import Alarm
from services.runtime.logs import log

TEST_CLOCK: Final = "CONCERT_TEST_CLOCK_FILE"
"""Names a file that holds seconds to add: for tests of days and years; refused in mode live."""
LEAP: Final = timedelta(seconds=30)
"""What the machine's clock may be set by at once; more is a leap, which nobody believes at first."""
BELIEVED_AFTER: Final = timedelta(minutes=5)


class Clock(Protocol):
    """Tells the time; never waits, never fails."""

    def now(self) -> datetime:
        """The present instant, in UTC."""


class SystemClock:
    """The machine's clock, and what a test adds to it."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return machine_time() + _ahead()


class SteadyClock:
    """For how long something lasts: the machine's clock as it was once, and the seconds since."""

    def __init__(self) -> None:
        self._at = machine_time() - running_time()

    def now(self) -> datetime:
        """The instant, as far as this clock was right at its beginning."""
        return self._at + running_time() + _ahead()


class GuardedClock:
    """The machine's clock, unless it leaps: then the time as it was goes on for five minutes, and an alarm.

    Only the machine is compared with itself; what a test adds is no leap. A process that starts after a leap
    cannot know of it.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] | None = None,
        running: Callable[[], timedelta] | None = None,
    ) -> None:
        """`wall` and `running` are the machine's clocks: that of the day, and that which nobody sets."""
        self._wall = wall or machine_time
        self._running = running or running_time
        self._began = self._wall() - self._running()
        """What to add to the running time; it follows the wall in small steps."""
        self._leapt: tuple[datetime, timedelta] | None = None
        """Where the wall leapt to, as a beginning, and at which running time that was seen."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        running = self._running()
        began = self._wall() - running
        if abs(began - self._began) <= LEAP:
            self._began, self._leapt = began, None
        elif self._leapt is None or abs(began - self._leapt[0]) > LEAP:
            self._leapt = began, running
            log().error("clock_leapt", state=f"{(began - self._began).total_seconds():+.0f} s")
        elif running - self._leapt[1] >= BELIEVED_AFTER:
            self._began, self._leapt = began, None
            log().warning("clock_believed")
        return self._began + running + _ahead()

    def alarms(self) -> Iterator[Alarm]:
        """Whether the machine's clock leapt and is not believed yet."""
        self.now()
        if self._leapt:
            yield Alarm("clock_leapt", "", self._began + self._leapt[1] + _ahead())


def machine_time() -> datetime:
    """The machine's clock, with nothing added."""
    return datetime.now(UTC)


def running_time() -> timedelta:
    """The time since some beginning, also while the machine slept, by a clock that nobody sets."""
    kind = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return timedelta(seconds=time.clock_gettime(kind))


def _ahead() -> timedelta:
    file = os.environ.get(TEST_CLOCK)  # read each time: a test moves every process at once
    return timedelta(seconds=float(Path(file).read_text())) if file else timedelta()
