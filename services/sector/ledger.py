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
from services.sector.vault.requests import ROWS_MAX
from services.sector.vault_client import VaultClient

UNDONE_MAX: Final = 50
"""How many one sweep does; each in a transaction of its own."""


class LedgerKeeper:
    """Sweeps; several at once do the same thing once, because each step waits for the case."""

    def __init__(self, vault: VaultClient, open_work: OpenWork) -> None:
        self._vault = vault
        self._open_work = open_work
        self._is_level = False

    async def sweep(self) -> bool:
        """Feed the vault, if it is there, and complete what was closed a minute ago and is not done.

        Says whether there may be more.
        """
        try:
            is_behind = await self._feed()
        except VaultUnavailable:
            is_behind = False
        except VaultRefusal as refusal:
            log().error("vault_refused", error_code=refusal.code)
            is_behind = False
        async with self._open_work() as work:
            undone = await work.closures.undone(work.clock.now() - LEFT_FOR, UNDONE_MAX)
        for closed, task in undone:
            async with self._open_work() as work:
                if await work.closures.task(closed) is not None:
                    await complete(task, work)
            crash_point("closure.completed")
        return is_behind or len(undone) == UNDONE_MAX

    async def replay(self) -> None:
        """Once after a start, take over rows that the vault has and this database lacks: it is an older copy.

        Raises VaultUnavailable until the vault has told: what she took back may stand here as it was.
        """
        if self._is_level:
            return
        try:
            while await self._feed():
                pass
            self._is_level = True
        except VaultUnavailable:
            log().warning("ledger_not_compared")
            raise
        except VaultRefusal as refusal:
            log().error("vault_refused", error_code=refusal.code)
            raise VaultUnavailable from None

    async def _feed(self) -> bool:
        """Bring the vault rows that it lacks, or take back those that an older copy of the database lacks.

        Says whether there may be more: the vault stays closed until it has seen them here again.
        """
        async with self._open_work() as work:
            await work.closures.feed_alone()
            known = (await self._vault.status())["ledger"]
            last = await work.closures.last()
            rows = await work.closures.after(min(known, last) - 1, ROWS_MAX)
            last = max(last, *(row.n for row in rows)) if rows else last  # grown between
            # The first row is one that both have, or this database went on as an older copy and is refused.
            missing = await self._vault.closed(rows, last)
            if missing:
                last = await work.closures.last()  # grown since, if she withdrew while the vault was asked
                if lost := [row for row in missing if row.n > last]:
                    log().error("ledger_restored", count=len(lost))
                    await work.closures.restore(lost, work.clock.now() - LEFT_FOR)
        return bool(missing) or len(rows) == ROWS_MAX


class LedgerGate(TrailGate):
    """Shows nothing out of an older copy of the database before its ledger was replayed."""

    def __init__(self, keeper: LedgerKeeper, show: TrailGate) -> None:
        self._keeper = keeper
        self._show = show

    async def __call__(self, look: Look, load: Callable[[Work], Awaitable[Shown]]) -> Shown:
        await self._keeper.replay()
        return await self._show(look, load)
