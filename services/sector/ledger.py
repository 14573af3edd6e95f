"""Looks after the ledger of what is closed: does what requests left undone."""

from typing import Final

from services.runtime.crash import crash_point
from services.sector.handlers.closures import LEFT_FOR, complete
from services.sector.handlers.work import OpenWork

UNDONE_MAX: Final = 50
"""How many one sweep does; each in a transaction of its own."""


class LedgerKeeper:
    """Sweeps; several at once do the same thing once, because each step waits for the case."""

    def __init__(self, open_work: OpenWork) -> None:
        self._open_work = open_work

    async def sweep(self) -> bool:
        """Complete what was closed a minute ago and is not done; says whether there may be more."""
        async with self._open_work() as work:
            undone = await work.closures.undone(work.clock.now() - LEFT_FOR, UNDONE_MAX)
        for closed, task in undone:
            async with self._open_work() as work:
                if await work.closures.task(closed) is not None:
                    await complete(task, work)
            crash_point("closure.completed")
        return len(undone) == UNDONE_MAX
