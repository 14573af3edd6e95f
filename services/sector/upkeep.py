"""What a vault is asked and brought in turn: intake keys, wraps to adopt, proofs of publication."""

from collections.abc import Iterator
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
        self._fetched_at: datetime | None = None
        self._closed: Alarm | None = None

    def alarms(self) -> Iterator[Alarm]:
        """Whether the vault said that it is closed."""
        if self._closed:
            yield self._closed

    async def sweep(self) -> bool:
        """One round; says whether more keys wait to be adopted."""
        try:
            await self._fetch_intake()
            is_full = await self._adopt()
            await self._settle()
        except VaultUnavailable:
            raise Unavailable("the vault does not answer") from None
        except VaultRefusal as refusal:
            log().error("vault_refused", error_code=refusal.code)
            raise Unavailable("the vault is closed") from None
        return is_full

    async def _fetch_intake(self) -> None:
        now = self._clock.now()
        if self._fetched_at and now - self._fetched_at < INTAKE_EVERY:
            return
        keys = await self._vault.intake()
        async with self._open_work() as work:
            await work.packets.keep_intake(keys, now)
        self._fetched_at = now

    async def _adopt(self) -> bool:
        async with self._open_work() as work:
            waiting = await work.packets.unadopted(ADOPTED_AT_ONCE_MAX)
        if not waiting:
            return False
        adopted = [key for key in await self._vault.adopt(waiting) if key]
        async with self._open_work() as work:
            await work.packets.adopt(adopted)
        return bool(adopted) and len(waiting) == ADOPTED_AT_ONCE_MAX

    async def _settle(self) -> None:
        """Bring the vault proofs of the entries that it released upon: without them it closes."""
        status = await self._vault.status()
        self._hear(status["closed"])
        if not (owed := status["unsettled"][:REPORTS_MAX]):
            return
        try:
            asked = ProofRequest(indexes=owed).model_dump(mode="json")
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
