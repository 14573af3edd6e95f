"""Who a reader is to the brokers, also over a restart; and what becomes of a producer that failed."""

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import uvloop
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from services.runtime.identity import Identity
from services.runtime.kafka import (
    METADATA_AGAIN_SECONDS,
    BrokerConnection,
    RelayProducer,
    be_patient,
    member_of,
)
from tests.support.clock import StoppedClock

REFERRALS = Identity("referrals", "test-local")


def test_a_reader_is_the_same_member_to_the_brokers_while_it_asks_for_the_same() -> None:
    """They give a static member its old partitions without a look at what it asks for."""
    member = member_of(REFERRALS, ["one", "two"])

    assert member == member_of(REFERRALS, ["two", "one"])
    assert member != member_of(REFERRALS, ["one"])
    assert member != member_of(Identity("health", "test-local"), ["one", "two"])


class Row(NamedTuple):
    """One row of the outbox."""

    id: int
    topic: str
    key: bytes
    value: bytes


class RefusingProducer:
    """Takes no batch any more, as aiokafka's does once its sender has ended."""

    has_stopped = False

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> Any:
        return SimpleNamespace(append=lambda **_record: object())

    async def send_batch(self, *_batch: Any, **_more: Any) -> None:
        raise KafkaError

    async def stop(self) -> None:
        self.has_stopped = True


def test_a_producer_that_takes_no_batch_is_left_for_a_fresh_one() -> None:
    """It never takes one again: kept, it would hold up all that this process has to tell."""
    clock: Any = StoppedClock(datetime(2026, 11, 24, tzinfo=UTC))
    settings: Any = None
    produce = RelayProducer(settings, clock)
    refusing: Any = RefusingProducer()
    produce._producer = refusing

    with pytest.raises(KafkaError):
        asyncio.run(produce([Row(1, "steps", b"key", b"{}")]))

    assert refusing.has_stopped
    assert produce._producer is None


def test_a_client_that_nobody_tells_the_leaders_asks_again_after_a_pause() -> None:
    """The sender asks in a loop without a pause of its own; its client must have one."""

    async def times_asked() -> int:
        client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
        be_patient(client)
        following = asyncio.create_task(client._md_synchronizer())
        asked, ends = 0, time.monotonic() + 2.5 * METADATA_AGAIN_SECONDS
        while time.monotonic() < ends:
            assert not await client.force_metadata_update()
            asked += 1
        following.cancel()
        return asked

    assert asyncio.run(times_asked()) <= 3


def test_a_request_on_a_connection_that_has_just_closed_is_a_lost_connection() -> None:
    """uvloop refuses the write by an error of its own, which would end aiokafka's keeper of the metadata."""

    async def ask_as_the_broker_goes() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            connection = BrokerConnection(host, port)
            connection._reader, connection._writer = await asyncio.open_connection(host, port)
            connection._read_task = asyncio.create_task(asyncio.sleep(0))
            connection._writer.transport.abort()
            await connection._writer.wait_closed()  # and aiokafka has not heard of it yet
            with pytest.raises(KafkaConnectionError):
                await connection.send(ApiVersionRequest())
            assert not connection.connected()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask_as_the_broker_goes())


def test_every_client_of_this_process_gets_such_connections() -> None:
    assert create_conn.__globals__["AIOKafkaConnection"] is BrokerConnection
