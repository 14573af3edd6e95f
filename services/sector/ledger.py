"""Looks after the ledger of what is closed: as long as the vault's, and nothing of it left undone."""

from collections.abc import Awaitable, Callable
from typing import Final

from services.runtime.crash import crash_point
from services.runtime.logs import log
from services.sector.domain.refusals import VaultUnavailable
from services.sector.handlers.closures import LEFT_FOR, complete
from services.sector.handlers.looks import Look, Shown, TrailGate
from services.sector.handlers.work import OpenWork, Work
from services.sector.vault.faults import VaultRefusal
from services.sector.vault_client import LedgerReply, VaultClient

UNDONE_MAX: Final = 50
"""How many one sweep does; each in a transaction of its own."""
ROWS_MAX: Final = 500


class LedgerKeeper:
    """Sweeps; several at once do the same thing once, because each step waits for the case."""

    def __init__(self, vault: VaultClient, open_work: OpenWork) -> None:
        self._vault = vault
        self._open_work = open_work
        self._is_level = False

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

    async def replay(self) -> None:
        """Once after a start, take over rows that the vault has and this database lacks: it is an older copy.

        While the vault is away, nothing of a packet can be released, and the rest is served as it is.
        """
        if self._is_level:
            return
        try:
            await self._level()
        except VaultUnavailable:
            log().warning("ledger_not_compared")
        except VaultRefusal as refusal:
            log().error("vault_refused", error_code=refusal.code)
            raise VaultUnavailable from None

    async def _level(self) -> None:
        reply = await self._compare()
        while reply.missing:
            async with self._open_work() as work:
                await work.closures.restore(reply.missing, work.clock.now() - LEFT_FOR)
            log().warning("ledger_replayed", count=len(reply.missing))
            reply = await self._compare()
        while True:
            async with self._open_work() as work:
                rows = await work.closures.after(reply.newest, ROWS_MAX)
                last = await work.closures.last()
            if not rows:
                break
            reply = await self._vault.closed(rows, last)
        self._is_level = True

    async def _compare(self) -> LedgerReply:
        async with self._open_work() as work:
            last = await work.closures.last()
            newest = await work.closures.after(last - 1, 1)
        reply = await self._vault.closed((), last)
        if 0 < last <= reply.newest:  # the same row in both, or this database went on as an older copy
            reply = await self._vault.closed(newest, last)
        return reply


class LedgerGate(TrailGate):
    """Shows nothing out of an older copy of the database before its ledger was replayed."""

    def __init__(self, keeper: LedgerKeeper, show: TrailGate) -> None:
        self._keeper = keeper
        self._show = show

    async def __call__(self, look: Look, load: Callable[[Work], Awaitable[Shown]]) -> Shown:
        await self._keeper.replay()
        return await self._show(look, load)
