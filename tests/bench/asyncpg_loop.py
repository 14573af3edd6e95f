"""The same work written by hand: one loop over asyncpg, the same statements, the same rules, no chassis."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.wire import envelope
from schemas.wire.topic import Topic
from services.referrals.handlers import Work, decide_steps
from services.referrals.store import ProtocolCache, ReferralStore, SurroundingsStore
from services.runtime import inbox, offsets, relay
from services.runtime.clock import SystemClock
from services.runtime.identity import Identity
from services.runtime.outbox import Outbox

_NAMED = re.compile(r"(?<!:):([a-z_]+)")


@lru_cache
def positional(sql: str) -> tuple[str, tuple[str, ...]]:
    """A statement with named parameters as asyncpg takes it, and the names in their order."""
    names: list[str] = []

    def place(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return _NAMED.sub(place, sql), tuple(names)


class BareTransaction:
    """What the stores need of a transaction, straight on asyncpg."""

    def __init__(self, connection: Any) -> None:
        self.after_commit: list[Any] = []
        self._connection = connection

    async def rows(self, sql: str, **parameters: Any) -> list[Any]:
        """Run a statement and give its rows, with attributes."""
        text, names = positional(sql)
        return [Row(row) for row in await self._connection.fetch(text, *(parameters[name] for name in names))]

    async def run(self, sql: str, **parameters: Any) -> None:
        """Run a statement whose rows nobody needs."""
        text, names = positional(sql)
        await self._connection.execute(text, *(parameters[name] for name in names))


class Row:
    """A record as the stores read it: columns as attributes, and in order."""

    __slots__ = ("_record",)

    def __init__(self, record: Any) -> None:
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return self._record[name]

    def __iter__(self) -> Any:
        return iter(self._record)


async def drain(
    dsn: str,
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    topics: dict[str, Topic],
    topic_ids: dict[str, Any],
    identity: Identity,
    *,
    steps: int,
    records_max: int,
) -> None:
    """Consume and relay until every step is applied and its last event acknowledged."""
    connection = await asyncpg.connect(dsn)
    cache: ProtocolCache = {}
    expected = {(one.topic, one.partition): 0 for one in consumer.assignment()}
    await _place(connection, identity, expected, topic_ids)
    done = 0
    while done < steps:
        fetched = await consumer.getmany(timeout_ms=200, max_records=records_max)
        records = [record for partition in sorted(fetched) for record in fetched[partition]]
        if records:
            done += await _apply(connection, records, topics, topic_ids, identity, cache, expected)
            await _relay(connection, identity, producer)
    while await _relay(connection, identity, producer):
        pass
    await connection.close()


async def _place(
    connection: Any, identity: Identity, expected: dict[Any, int], topic_ids: dict[str, Any]
) -> None:
    await connection.executemany(
        "INSERT INTO consumer_offset (grp, topic, part, topic_id, next) VALUES ($1, $2, $3, $4, 0)",
        [(identity.group, topic, part, topic_ids[topic]) for topic, part in expected],
    )


async def _apply(
    connection: Any,
    records: Sequence[Any],
    topics: dict[str, Topic],
    topic_ids: dict[str, Any],
    identity: Identity,
    cache: ProtocolCache,
    expected: dict[Any, int],
) -> int:
    events = [
        envelope.read(
            topics[one.topic], one.headers, one.key, one.value,
            cell=identity.cell, mode=identity.mode,
        )
        for one in records
    ]  # fmt: skip
    following = {(one.topic, one.partition): one.offset + 1 for one in records}
    async with connection.transaction():
        transaction: Any = BareTransaction(connection)
        turns = await inbox.take(transaction, events, ())
        outbox = Outbox(identity)
        surroundings = SurroundingsStore(transaction, outbox, cache)
        work = Work(ReferralStore(transaction, outbox), surroundings, SystemClock())
        fresh: list[Any] = [event for event, turn in zip(events, turns, strict=True) if turn.is_fresh]
        await decide_steps(fresh, work)
        await offsets.move(transaction, identity.group, topic_ids, expected, following)
    expected |= following
    return len(records)


async def _relay(connection: Any, identity: Identity, producer: AIOKafkaProducer) -> int:
    headers = list(envelope.HEADERS)
    async with connection.transaction():
        claimed = await BareTransaction(connection).rows(str(relay.CLAIM), shard=0, rows_max=relay.ROWS_MAX)
        sent = [
            await producer.send(row.topic, value=row.value, key=row.key, headers=headers)
            for row in relay.in_order(claimed)
        ]
        for one in sent:
            await one
    return len(sent)
