"""How late the event loop is: whatever does not let others run shows here, though each part looks well."""

import asyncio
from typing import Final

from services.runtime.metrics import LOOP_LAG
from services.runtime.worker import Worker

EVERY_SECONDS: Final = 1.0


class LoopWatch(Worker):
    """Asks to be woken once a second, and measures how much later that was."""

    async def run(self) -> None:
        """Measure until stopped."""
        loop = asyncio.get_running_loop()
        while not self.is_stopping:
            due = loop.time() + EVERY_SECONDS
            await self.pause(EVERY_SECONDS)
            LOOP_LAG.observe(max(0.0, loop.time() - due))
