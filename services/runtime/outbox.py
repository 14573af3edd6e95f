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

_NUMBER: Final = """
INSERT INTO sequence_out AS s (topic, key, last)
SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:keys AS bytea[]), CAST(:counts AS bigint[]))
ON CONFLICT (topic, key) DO UPDATE SET last = s.last + excluded.last
RETURNING topic, key, last"""
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

    async def add(self, transaction: Transaction, events: Sequence[OutboxEvent]) -> None:
        """Number, encode and keep the events; the relay sends them once the transaction is committed."""
        if not events:
            return
        keys = [(event.topic.name(self._identity.namespace), key_of(event.body).encode()) for event in events]
        numbers = numbered(keys, await self._last(transaction, keys))
        values = [self._encode(event, number) for event, number in zip(events, numbers, strict=True)]
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
    ) -> dict[tuple[str, bytes], int]:
        counts = sorted(Counter(keys).items())  # one order for all writers: no deadlock
        rows = await transaction.rows(
            _NUMBER,
            topics=[topic for (topic, _), _ in counts],
            keys=[key for (_, key), _ in counts],
            counts=[count for _, count in counts],
        )
        return {(topic, key): last for topic, key, last in rows}

    def _encode(self, event: OutboxEvent, number: int) -> bytes:
        return envelope.write(
            event.topic,
            event.body,
            id=event.id or new_id("event"),
            source=self._identity.source,
            sequence=number,
            at=event.at,
            caused_by=event.caused_by,
        )
