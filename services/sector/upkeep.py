"""What a vault is asked and brought in turn: intake keys, wraps, proofs of publication."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import httpx2
from pydantic import ValidationError

from schemas.events.access import REPORTS_MAX, ProofRequest, PublishedProofs
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.sector.domain.refusals import VaultUnavailable
from services.sector.handlers.work import OpenWork
from services.sector.vault.faults import VaultRefusal
from services.sector.vault.requests import DataKeyWrap
from services.sector.vault_client import VaultClient

INTAKE_EVERY: Final = timedelta(hours=1)
"""How often intake keys are fetched: each lasts for two weeks without a vault."""
ADOPTED_AT_ONCE_MAX: Final = 200


class VaultUpkeep:
    """Looks after one vault; Unavailable makes it wait longer."""

    def __init__(
        self, vault: VaultClient, trail: httpx2.AsyncClient, open_work: OpenWork, clock: Clock
    ) -> None:
        self._vault = vault
        self._trail = trail
        self._open_work = open_work
        self._clock = clock
        self._fetched: tuple[str, datetime] | None = None
        self._closed: Alarm | None = None
        self._wrapped_to: tuple[str, str | None] = ("", "")
        """The epoch whose older keys are looked for, and up to which id; None once through."""

    def alarms(self) -> Iterator[Alarm]:
        """Whether the vault said that it is closed."""
        if self._closed:
            yield self._closed

    async def sweep(self) -> bool:
        """One round; says whether more waits."""
        try:
            status = await self._vault.status()
            self._hear(status["closed"])
            await self._fetch_intake(status["epoch"])
            is_full = await self._adopt() or await self._rewrap(status["epoch"])
            await self._settle(status["unsettled"][:REPORTS_MAX])
        except VaultUnavailable:
            raise Unavailable("the vault does not answer") from None
        except VaultRefusal as refusal:
            log().error("vault_refused", error_code=refusal.code)
            raise Unavailable("the vault is closed") from None
        return is_full

    async def _fetch_intake(self, epoch: str) -> None:
        now = self._clock.now()
        if self._fetched and self._fetched[0] == epoch and abs(now - self._fetched[1]) < INTAKE_EVERY:
            return
        keys = await self._vault.intake()
        async with self._open_work() as work:
            await work.packets.keep_intake(keys)
        self._fetched = (epoch, now)

    async def _adopt(self) -> bool:
        async with self._open_work() as work:
            waiting = await work.packets.unadopted(ADOPTED_AT_ONCE_MAX)
        if not waiting:
            return False
        are_some = await self._replace(waiting, await self._vault.adopt(waiting))
        return are_some and len(waiting) == ADOPTED_AT_ONCE_MAX

    async def _rewrap(self, epoch: str) -> bool:
        """Wrap keys of older epochs anew, once through all of them after a start and in each new epoch."""
        begun, after = self._wrapped_to
        if begun != epoch:
            after = ""
        elif after is None:
            return False
        async with self._open_work() as work:
            behind = await work.packets.behind(epoch, after, ADOPTED_AT_ONCE_MAX)
        if behind:
            await self._replace(behind, await self._vault.rewrap(behind))
        is_full = len(behind) == ADOPTED_AT_ONCE_MAX
        self._wrapped_to = (epoch, behind[-1].key if is_full else None)
        return is_full

    async def _replace(self, rows: Sequence[DataKeyWrap], wrapped: Sequence[DataKeyWrap | None]) -> bool:
        adopted = {row.wrap: own for row, own in zip(rows, wrapped, strict=True) if own}
        async with self._open_work() as work:
            await work.packets.adopt(adopted)
        return bool(adopted)

    async def _settle(self, owed: Sequence[int]) -> None:
        """Bring the vault proofs of the entries that it released upon: without them it closes."""
        if not owed:
            return
        try:
            asked = ProofRequest(indexes=tuple(owed)).model_dump(mode="json")
            response = await self._trail.post("/v1/proofs", json=asked)
            published = PublishedProofs.model_validate_json(response.content)
        except (httpx2.TransportError, ValidationError) as error:
            raise Unavailable("the trail proves nothing now") from error
        await self._vault.settle(published)

    def _hear(self, closed: str | None) -> None:
        if closed is None:
            self._closed = None
        elif self._closed is None or self._closed.where != closed:
            self._closed = Alarm("vault_closed", closed, self._clock.now())
