"""The relay moves rows from the outbox to the brokers: in order within a shard, never skipping."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from aiokafka.errors import KafkaError

from services.runtime.crash import crash_point
from services.runtime.database import FAILURES, Database
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.runtime.metrics import SEND_SECONDS
from services.runtime.offsets import Partition
from services.runtime.transaction import Transaction
from services.runtime.worker import Backoff, Worker

ROWS_MAX: Final = 500
POLL_SECONDS: Final = 3.0
"""How long to wait for a row that no commit of this process announced."""
LOCK_SECONDS: Final = 1.0
"""How often a second process looks whether the shard's owner is gone."""
LOCK_CLASS: Final = 7_001
"""The first half of every relay's advisory lock; the second is the shard."""

_LOCK: Final = "SELECT pg_try_advisory_lock($1, $2)"
NEXT: Final = """
SELECT id, topic, key, value, (SELECT last_value FROM send_order) AS began
FROM outbox WHERE shard = :shard ORDER BY id LIMIT :rows_max"""
MOVE: Final = """
WITH known AS (SELECT WHERE NOT EXISTS (SELECT FROM refilled WHERE place > :began)),
sent AS (
  DELETE FROM outbox WHERE id = ANY(CAST(:ids AS bigint[])) AND EXISTS (SELECT FROM known) RETURNING *),
held AS (
  INSERT INTO log_ack AS l (topic, part, next)
  SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:nexts AS bigint[]))
  WHERE EXISTS (SELECT FROM known)
  ON CONFLICT (topic, part) DO UPDATE SET next = greatest(l.next, excluded.next))
INSERT INTO outbox_sent (id, shard, topic, key, sequence, value, created_at)
SELECT id, shard, topic, key, sequence, value, created_at FROM sent"""

R = TypeVar("R")
Produce = Callable[[Sequence[Any]], Awaitable[Mapping[Partition, int]]]
"""Sends rows in the order given and returns once the brokers hold every one of them, and up to where."""


class SendingGate(Protocol):
    """What a relay asks before it sends."""

    async def ready(self) -> None:
        """Return once it may send."""

    def suspect(self) -> None:
        """Be told that brokers or database went away."""


async def relay(transaction: Transaction, produce: Produce, *, shard: int, rows_max: int = ROWS_MAX) -> int:
    """Send the oldest rows of one shard in order; a crash sends again, it never skips.

    The caller owns the shard through its session's advisory lock; rows move once the brokers hold them all.
    """
    rows = await transaction.rows(NEXT, shard=shard, rows_max=rows_max)
    if rows:
        crash_point("relay.claimed")  # nothing was sent
        held = sorted((await produce(rows)).items())
        crash_point("relay.acked")  # sent, not moved: sent again under the same ids, every inbox drops them
        await transaction.run(
            MOVE,
            began=rows[0].began,  # what was refilled since then lost these rows too: they stay, and go again
            ids=[row.id for row in rows],
            topics=[topic for (topic, _), _ in held],
            parts=[part for (_, part), _ in held],
            nexts=[following for _, following in held],
        )
    return len(rows)


class Relay(Worker):
    """One shard's relay: holds the shard's lock on its own connection while that connection lives."""

    def __init__(
        self,
        database: Database,
        produce: Produce,
        *,
        shard: int,
        gate: SendingGate | None = None,
        lease_seconds: float = 0,
    ) -> None:
        """After `lease_seconds` of standing still, another process's relay may have the shard."""
        super().__init__()
        self.is_owner = False
        self._lease_seconds = lease_seconds
        self._gate = gate
        self._produce = produce
        self._database = database
        self._shard = shard

    async def run(self) -> None:
        """Relay until stopped; brokers or database away mean waiting, for as long as it takes."""
        backoff = Backoff()
        while not self.is_stopping:
            try:
                async with self._database.session(lease_seconds=self._lease_seconds) as session:
                    await self._own(session)
                    await self._send_all(session, backoff)
            except (KafkaError, Unavailable, *FAILURES) as error:
                if self._gate:
                    self._gate.suspect()
                # Nothing was committed: the rows are still in the outbox and go out under the same ids.
                log().warning("relay_waits", error_class=type(error).__name__, shard=self._shard)
                self.is_owner = False
                self.clear()  # what was written before this failure must not cut the wait short
                await self.pause(backoff.next())

    async def _own(self, session: Any) -> None:
        """Wait for the shard's lock; a connection that is lost loses lock and claim together."""
        while not self.is_stopping:
            self.clear()  # a wake that nobody takes back would make it ask without a pause
            if await session.fetchval(_LOCK, LOCK_CLASS, self._shard):
                self.is_owner = True
                return
            await self.pause(LOCK_SECONDS)

    async def _send_all(self, session: Any, backoff: Backoff) -> None:
        while not self.is_stopping:
            self.clear()
            if self._gate:
                await _while_alive(session, self._gate.ready())
            sent = await relay(Transaction(session), partial(self._sent, session), shard=self._shard)
            if sent:
                crash_point("relay.committed")
            backoff.reset()
            await self.pause(0 if sent == ROWS_MAX else POLL_SECONDS)

    async def _sent(self, session: Any, rows: Sequence[Any]) -> Mapping[Partition, int]:
        with SEND_SECONDS.labels("send").time():
            return await _while_alive(session, self._produce(rows))


async def _while_alive(session: Any, work: Awaitable[R]) -> R:
    """Wait for brokers, and let the server see meanwhile that this process lives: it keeps the lock."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=POLL_SECONDS))[0]:
            await session.execute("SELECT 1")
        return task.result()
    finally:
        task.cancel()
