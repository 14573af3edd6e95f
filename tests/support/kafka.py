"""Foreign clients: they write and read records as any user, past our own code."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from services.runtime.kafka import security
from tests.support.platform import Space


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


async def send_raw(space: Space, user: str, topic: str, records: Sequence[Any], partition: int = 0) -> None:
    """Send records of (key, headers, value) in order to one partition."""
    async with a_producer(space, user) as producer:
        sent = [
            await producer.send(topic, value=value, key=key, headers=list(headers), partition=partition)
            for key, headers, value in records
        ]
        for one in sent:
            await one
