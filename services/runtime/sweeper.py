"""Work that nobody asks for: looked for at intervals, sooner when something tells that there is some."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from services.runtime.alarms import Alarm
from services.runtime.clock import Clock, SteadyClock
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.runtime.worker import Backoff, Worker

FAILS_FOR: Final = timedelta(seconds=30)
"""Work that has failed for so long is an alarm; once or twice is how a restart looks."""


class Sweeper(Worker):
    """Runs one piece of work again and again; several processes doing so at once must be safe."""

    def __init__(self, name: str, every_seconds: float, sweep: Callable[[], Awaitable[bool]]) -> None:
        """`sweep` says whether there is more to do at once; Unavailable makes it wait longer."""
        super().__init__()
        self.name = name
        self._every_seconds = every_seconds
        self._sweep = sweep
        self._failing_since: datetime | None = None
        self._succeeded_at: datetime | None = None
        self.clock: Clock = SteadyClock()

    def alarms(self) -> Iterator[Alarm]:
        """Whether the work has failed for long."""
        since = self._failing_since
        if since is not None and self.clock.now() - since >= FAILS_FOR:
            yield Alarm("sweep_fails", self.name, since)

    def success_age(self) -> float | None:
        """How many seconds ago it last succeeded; None before it has."""
        return (self.clock.now() - self._succeeded_at).total_seconds() if self._succeeded_at else None

    async def run(self) -> None:
        """Sweep until stopped; a failure is told and tried again."""
        backoff = Backoff()
        while not self.is_stopping:
            self.clear()
            try:
                seconds = 0.0 if await self._sweep() else self._every_seconds
                backoff.reset()
                self._failing_since = None
                self._succeeded_at = self.clock.now()
            except Unavailable:
                self._fails()
                seconds = backoff.next()
            except Exception as error:
                self._fails()
                # One bad row must not end the process; it is told, and the sweep comes again.
                log().error("sweep_failed", error_class=type(error).__name__, route=self.name)
                seconds = max(self._every_seconds, backoff.next())
            await self.pause(seconds)

    def _fails(self) -> None:
        if self._failing_since is None:
            self._failing_since = self.clock.now()
