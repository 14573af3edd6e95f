"""Work that nobody asks for: looked for at intervals, sooner when something tells that there is some."""

from collections.abc import Awaitable, Callable

from services.runtime.backoff import Backoff
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.runtime.pauses import Pauses


class Sweeper(Pauses):
    """Runs one piece of work again and again; several processes doing so at once must be safe."""

    def __init__(self, name: str, every_seconds: float, sweep: Callable[[], Awaitable[bool]]) -> None:
        """`sweep` says whether there is more to do at once; Unavailable makes it wait longer."""
        super().__init__()
        self.name = name
        self._every_seconds = every_seconds
        self._sweep = sweep

    async def run(self) -> None:
        """Sweep until stopped; a failure is told and tried again."""
        backoff = Backoff()
        while not self.is_stopping:
            self.heed()
            try:
                seconds = 0.0 if await self._sweep() else self._every_seconds
                backoff.reset()
            except Unavailable:
                seconds = backoff.next()
            except Exception as error:
                # One bad row must not end the process; it is told, and the sweep comes again.
                log().error("sweep_failed", error_class=type(error).__name__, route=self.name)
                seconds = max(self._every_seconds, backoff.next())
            await self.pause(seconds)
