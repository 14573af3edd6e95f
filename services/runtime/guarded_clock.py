"""What becomes of the time when somebody sets the machine's clock: nothing at once."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from services.runtime.alarms import Alarm
from services.runtime.clock import added_by_test, machine_time, running_time
from services.runtime.logs import log

LEAP: Final = timedelta(seconds=30)
"""What the machine's clock may be set by at once; more is a leap, which nobody believes at first."""
BELIEVED_AFTER: Final = timedelta(minutes=5)


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
        return self._began + running + added_by_test()

    def alarms(self) -> Iterator[Alarm]:
        """Whether the machine's clock leapt and is not believed yet."""
        self.now()
        if self._leapt:
            yield Alarm("clock_leapt", "", self._began + self._leapt[1] + added_by_test())
