"""Looks after the ledger of what is closed: as long as the vault's, and nothing of it left undone.

Where vault or database lost rows that the other has not either, the trail has them, with proofs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import httpx2

from schemas.events.access import ProofRequest, PublishedProofs, ToldClosure, ToldClosures
from schemas.events.consent import Closure
from schemas.trail.bytes import json_object
from schemas.trail.permits import BadPermit, Trust, check_signed
from services.runtime.crash import crash_point
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.sector.domain.refusals import VaultUnavailable
from services.sector.handlers.closures import LEFT_FOR, complete
from services.sector.handlers.looks import Look, Shown, TrailGate
from services.sector.handlers.work import OpenWork, Work
from services.sector.vault.checks import read_closure
from services.sector.vault.faults import VaultRefusal
from services.sector.vault.requests import ROWS_MAX, ClosureEntry
from services.sector.vault_client import VaultClient

JSON: Final = {"content-type": "application/json"}
UNDONE_MAX: Final = 50
"""How many one sweep does; each in a transaction of its own."""


class LedgerKeeper:
    """Sweeps; several at once do the same thing once, because each step waits for the case."""

    def __init__(self, vault: VaultClient, open_work: OpenWork, told: "ToldLedger | None" = None) -> None:
        """`told` is the ledger as the trail has it."""
        self._vault = vault
        self._open_work = open_work
        self._told = told
        self._is_level = False

    async def sweep(self) -> bool:
        """Feed the vault, if it is there, and complete what was closed a minute ago and is not done.

        Says whether there may be more.
        """
        try:
            is_behind = await self._feed()
        except (VaultUnavailable, Unavailable):
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
        except (VaultUnavailable, Unavailable):
            log().warning("ledger_not_compared")
            raise VaultUnavailable from None
        except VaultRefusal as refusal:
            log().error("vault_refused", error_code=refusal.code)
            raise VaultUnavailable from None

    async def take_back(self) -> None:
        """Before a restored service serves: the rows that the trail has and this copy lacks.

        The vault is no sure source then: its folder may be an older copy too. Raises Unavailable until all
        that the trail was told is signed, and here.
        """
        if self._told is None:
            return
        async with self._open_work() as work:
            last = await work.closures.last()
        told = await self._told.by_number()
        numbers = sorted(number for number in told if number > last)
        if numbers != [*range(last + 1, last + 1 + len(numbers))]:
            log().error("ledger_not_in_trail", count=len(numbers))
            raise Unavailable("the trail lacks rows of the ledger")
        async for _, _, lost in self._told.proved([told[number] for number in numbers]):
            log().error("ledger_restored", count=len(lost))
            async with self._open_work() as work:
                await work.closures.restore(lost, work.clock.now() - LEFT_FOR)

    async def _feed(self) -> bool:
        """Level database and vault; a vault that lost its ledger first gets it as the trail has it."""
        try:
            return await self._level()
        except VaultRefusal as refusal:
            if refusal.code != "state_lost" or self._told is None:
                raise
        async with self._open_work() as work:
            last = await work.closures.last()
        told = await self._told.by_number()
        newest = max([last, *told])
        if newest == 0 or sorted(told) != [*range(1, newest + 1)]:
            log().error("ledger_not_in_trail", count=len(told))
            raise Unavailable("the trail lacks rows of the ledger")
        async for checkpoint, entries, _ in self._told.proved([told[n] for n in sorted(told)]):
            await self._vault.rebuild(checkpoint, entries, newest)
        log().error("vault_ledger_rebuilt", count=newest)
        return True

    async def _level(self) -> bool:
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


class ToldLedger:
    """A sector's ledger as it told it to the trail; Unavailable while the trail does not prove it."""

    def __init__(self, client: httpx2.AsyncClient, audience: str, trust: Trust) -> None:
        self._client = client
        self._audience = audience
        self._trust = trust

    async def by_number(self) -> dict[int, ToldClosure]:
        """Number → the first entry that tells of that row."""
        found: dict[int, ToldClosure] = {}
        after: int | None = 0
        while after is not None:
            page = ToldClosures.model_validate_json(await self._asked("GET", f"/v1/closures?from={after}"))
            for one in page.closures:
                found.setdefault(json_object(one.opening.detail)["closure"]["n"], one)
            after = page.after
        return found

    async def proved(
        self, told: Sequence[ToldClosure]
    ) -> AsyncIterator[tuple[str, list[ClosureEntry], list[Closure]]]:
        """These entries in parts: the checkpoint, what leads to it, and the rows that it proves."""
        for start in range(0, len(told), ROWS_MAX):
            part = told[start : start + ROWS_MAX]
            asked = ProofRequest(indexes=tuple(one.index for one in part)).model_dump_json()
            published = PublishedProofs.model_validate_json(await self._asked("POST", "/v1/proofs", asked))
            proofs = {proof.index: proof for proof in published.proofs}
            if proofs.keys() != {one.index for one in part}:
                raise Unavailable("the trail has not signed all of the ledger yet")
            entries = [ClosureEntry(opening=one.opening, proof=proofs[one.index]) for one in part]
            try:
                head = check_signed(published.checkpoint, self._trust)
                rows = [read_closure(entry, self._audience, head) for entry in entries]
            except (BadPermit, VaultRefusal) as bad:
                log().error("ledger_unproved", error_code=bad.code)
                raise Unavailable("the trail does not prove the ledger") from None
            yield published.checkpoint, entries, rows

    async def _asked(self, method: str, path: str, content: str | None = None) -> bytes:
        try:
            answer = await self._client.request(method, path, content=content, headers=JSON)
        except httpx2.TransportError:
            raise Unavailable("the trail does not answer") from None
        if answer.status_code != httpx2.codes.OK:
            raise Unavailable("the trail does not tell of the ledger now")
        return answer.content


class LedgerGate(TrailGate):
    """Shows nothing out of an older copy of the database before its ledger was replayed."""

    def __init__(self, keeper: LedgerKeeper, show: TrailGate) -> None:
        self._keeper = keeper
        self._show = show

    async def __call__(self, look: Look, load: Callable[[Work], Awaitable[Shown]]) -> Shown:
        await self._keeper.replay()
        return await self._show(look, load)
