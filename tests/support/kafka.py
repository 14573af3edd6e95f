"""Foreign clients: they write and read records as any user, past our own code."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.wire import envelope
from schemas.wire.body import Body, key_of
from schemas.wire.topic import Topic, source_of
from services.runtime.ids import new_id
from services.runtime.kafka import security
from tests.support.platform import CELL, Space


@asynccontextmanager
async def a_producer(space: Space, user: str) -> AsyncIterator[AIOKafkaProducer]:
    """A plain producer: not idempotent, so that a user who may write nothing can try too."""
    producer = AIOKafkaProducer(acks="all", **security(space.kafka_settings(user)))
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def a_bare_reader(
    space: Space, user: str, topic: str, partitions: Sequence[int] = (0,)
) -> AsyncIterator[AIOKafkaConsumer]:
    """A reader of a topic's first partition, or of more, from its beginning, in no group."""
    consumer = AIOKafkaConsumer(auto_offset_reset="earliest", **security(space.kafka_settings(user)))
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        await consumer.seek_to_beginning()
        yield consumer
    finally:
        await consumer.stop()


def event_record(
    topic: Topic,
    body: Body,
    *,
    event: str | None = None,
    sequence: int = 1,
    at: datetime | None = None,
) -> tuple[bytes, tuple[tuple[str, bytes], ...], bytes]:
    """Key, headers and value of an event as the topic's writer would write it, by default now."""
    value = envelope.write(
        topic,
        body,
        id=event or new_id("event"),
        source=source_of(CELL, topic.writer),
        sequence=sequence,
        at=at or datetime.now(UTC),
    )
    return key_of(body).encode(), tuple(envelope.HEADERS), value


async def send_raw(space: Space, user: str, topic: str, records: Sequence[Any], partition: int = 0) -> None:
    """Send records of (key, headers, value) in order to one partition."""
    async with a_producer(space, user) as producer:
        sent = [
            await producer.send(topic, value=value, key=key, headers=list(headers), partition=partition)
            for key, headers, value in records
        ]
        for one in sent:
            await one
