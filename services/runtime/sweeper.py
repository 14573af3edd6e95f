"""Work that nobody asks for: looked for at intervals, sooner when something tells that there is some."""

import asyncio
from collections.abc import Awaitable, Callable

from services.runtime.backoff import Backoff
from services.runtime.errors import Unavailable
from services.runtime.logs import log


class Sweeper:
    """Runs one piece of work again and again; several processes doing so at once must be safe."""

    def __init__(self, name: str, every_seconds: float, sweep: Callable[[], Awaitable[bool]]) -> None:
        """`sweep` says whether there is more to do at once; Unavailable makes it wait longer."""
        self.name = name
        self._every_seconds = every_seconds
        self._sweep = sweep
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the piece in hand, then leave."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Sweep until stopped; a failure is told and tried again."""
        backoff = Backoff()
        while not self._stopping:
            self._wake.clear()
            try:
                seconds = 0.0 if await self._sweep() else self._every_seconds
                backoff.reset()
            except Unavailable:
                seconds = backoff.next()
            except Exception as error:
                # One bad row must not end the process; it is told, and the sweep comes again.
                log().error("sweep_failed", error_class=type(error).__name__, route=self.name)
                seconds = max(self._every_seconds, backoff.next())
            if seconds:
                await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
