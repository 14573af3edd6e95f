"""Events leave a service through one table, in the transaction of the change that they tell about."""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schemas.wire import envelope
from schemas.wire.body import key_of
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Transaction
from services.runtime.writer_epoch import NUMBERS_OF_AN_EPOCH

_NUMBER: Final = """
INSERT INTO sequence_out AS s (topic, key, last)
SELECT n.topic, n.key, (w.epoch - 1) * :an_epoch + n.count
FROM unnest(CAST(:topics AS text[]), CAST(:keys AS bytea[]), CAST(:counts AS bigint[]))
     AS n (topic, key, count)
CROSS JOIN writer w
ON CONFLICT (topic, key) DO UPDATE
SET last = greatest(excluded.last, s.last + excluded.last - (SELECT (epoch - 1) * :an_epoch FROM writer))
RETURNING topic, key, last, (SELECT epoch FROM writer) AS epoch"""
_ADD: Final = """
INSERT INTO outbox (shard, topic, key, sequence, value)
SELECT shard, topic, key, sequence, value
FROM unnest(CAST(:shards AS smallint[]), CAST(:topics AS text[]), CAST(:keys AS bytea[]),
            CAST(:sequences AS bigint[]), CAST(:values AS bytea[]))
     WITH ORDINALITY AS row (shard, topic, key, sequence, value, place)
ORDER BY place"""


def shard_of(key: bytes, shards: int) -> int:
    """The shard that every event of this key goes through, so that they keep their order."""
    return zlib.crc32(key) % shards


def numbered(keys: Sequence[tuple[str, bytes]], last: Mapping[tuple[str, bytes], int]) -> list[int]:
    """Give each event its number: `last` is the highest of its topic and key once all have theirs."""
    ahead = Counter(keys)
    numbers = []
    for key in keys:
        ahead[key] -= 1
        numbers.append(last[key] - ahead[key])
    return numbers


class Outbox:
    """The way out of a service; the caller has locked what the events tell about, in key order."""

    def __init__(self, identity: Identity, wake: Callable[[], None] = lambda: None) -> None:
        """`wake` tells the relays of this process that there is something to send."""
        self._identity = identity
        self._wake = wake
        self.is_full = False
        """Whether so much waits that nobody may ask for more."""

    async def add(self, transaction: Transaction, events: Sequence[OutboxEvent]) -> None:
        """Number, encode and keep the events; the relay sends them once the transaction is committed."""
        if not events:
            return
        keys = [(event.topic.name(self._identity.namespace), key_of(event.body).encode()) for event in events]
        last, epoch = await self._last(transaction, keys)
        numbers = numbered(keys, last)
        values = [self._encode(event, number, epoch) for event, number in zip(events, numbers, strict=True)]
        await transaction.run(
            _ADD,
            shards=[shard_of(key, self._identity.shards) for _, key in keys],
            topics=[topic for topic, _ in keys],
            keys=[key for _, key in keys],
            sequences=numbers,
            values=values,
        )
        transaction.after_commit.append(self._wake)

    async def _last(
        self, transaction: Transaction, keys: Sequence[tuple[str, bytes]]
    ) -> tuple[dict[tuple[str, bytes], int], int]:
        """The highest number of each topic and key, and the epoch in which they are given."""
        counts = sorted(Counter(keys).items())  # one order for all writers: no deadlock
        rows = await transaction.rows(
            _NUMBER,
            topics=[topic for (topic, _), _ in counts],
            keys=[key for (_, key), _ in counts],
            counts=[count for _, count in counts],
            an_epoch=NUMBERS_OF_AN_EPOCH,
        )
        return {(row.topic, row.key): row.last for row in rows}, rows[0].epoch

    def _encode(self, event: OutboxEvent, number: int, epoch: int) -> bytes:
        return envelope.write(
            event.topic,
            event.body,
            id=event.id or new_id("event"),
            source=self._identity.source,
            sequence=number,
            at=event.at,
            caused_by=event.caused_by,
            writer_epoch=epoch,
        )
