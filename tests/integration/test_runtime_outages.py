"""While its database or the brokers are away a service loses nothing, and it comes back by itself."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from deploy.local.kafka import Kafka
from schemas.events.referral import AcknowledgeReferral
from schemas.topics import STEPS
from services.runtime import process, relay
from services.runtime.database import Database
from services.runtime.health import Health
from services.runtime.ids import new_id
from services.runtime.process import Parts, Runtime, ServiceProcess, running
from services.runtime.settings import RuntimeSettings
from services.runtime.subscription import OutboxEvent
from tests.support.kafka import send_raw
from tests.support.platform import Space
from tests.support.poison import AT, HEALTH_STEPS, a_good_record
from tests.support.readers import Gate, Reader, events_told
from tests.support.waiting import until

STEP_COUNT = 40


async def pending(space: Space, service: str) -> int:
    async with space.transaction(service) as transaction:
        rows = await transaction.rows("SELECT count(*) AS pending FROM outbox")
    return int(rows[0].pending)


@asynccontextmanager
async def a_writers_database(space: Space) -> AsyncIterator[Database]:
    """The health sector's database as its API uses it; the relay is another's."""
    database = space.database("health")
    yield database
    await database.close()


async def written(space: Space, database: Database, keys: Sequence[str]) -> None:
    """A step about each of these referrals, each in its own transaction."""
    for key in keys:
        body = AcknowledgeReferral(referral=key, agency="north-clinic", duty="intake")
        async with database.transaction() as transaction:
            await space.outbox("health").add(transaction, [OutboxEvent(STEPS["health"], body, AT)])


@asynccontextmanager
async def a_writer(space: Space) -> AsyncIterator[ServiceProcess]:
    """The health sector's relay."""
    settings = space.settings(RuntimeSettings, "health")
    async with running("health", settings, lambda _runtime, _settings: Parts()) as service:
        yield service


async def as_admin(space: Space, sql: str) -> None:
    async with space.platform.server.connection() as connection:
        await connection.execute(sql)


async def connections_cut(space: Space, service: str) -> None:
    """End every session of a service's database."""
    await as_admin(
        space,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{space.database_name(service)}' AND pid <> pg_backend_pid()",
    )


@asynccontextmanager
async def without_database(space: Space, service: str) -> AsyncIterator[None]:
    """Nobody gets a connection, as if the server were away."""
    name = space.database_name(service)
    await as_admin(space, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        await connections_cut(space, service)
        yield
    finally:
        await as_admin(space, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def dead_letters(space: Space) -> int:
    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows("SELECT count(*) AS kept FROM dead_letter")
    return int(rows[0].kept)


async def test_while_the_database_is_away_the_batch_waits_and_comes_again(space: Space) -> None:
    keys = [new_id("referral") for _ in range(STEP_COUNT)]
    topic = HEALTH_STEPS.name(space.namespace)
    reader = Reader(space)

    with capture_logs() as lines:
        async with reader.running() as service:
            await send_raw(space, "health", topic, [a_good_record(key) for key in keys[:10]])
            await until(lambda: len(reader.applied_of(keys)) == 10)
            async with without_database(space, "referrals"):
                await send_raw(space, "health", topic, [a_good_record(key) for key in keys[10:]])
                await until(lambda: events_told(lines)("batch_waits"))
                assert (await service.health.look()).reason == "database"
            await until(lambda: len(reader.applied_of(keys)) >= STEP_COUNT)
            assert (await service.health.look()).reason is None

    assert reader.applied_of(keys) == keys
    assert await dead_letters(space) == 0


async def test_a_batch_whose_connection_is_cut_comes_again_whole(space: Space) -> None:
    keys = [new_id("referral") for _ in range(STEP_COUNT)]
    gate = Gate()
    reader = Reader(space, gate)

    with capture_logs() as lines:
        async with reader.running():
            records = [a_good_record(key) for key in keys]
            await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), records)
            await asyncio.wait_for(gate.reached.wait(), 30)
            await connections_cut(space, "referrals")
            gate.opened.set()
            await until(lambda: len(reader.applied_of(keys)) >= STEP_COUNT)

    assert events_told(lines)("batch_waits")
    assert reader.applied_of(keys) == keys
    assert await dead_letters(space) == 0


async def test_an_outbox_over_its_guard_takes_no_more_requests(space: Space) -> None:
    async with a_writers_database(space) as database:
        health = Health(database, outbox_rows_max=3)
        assert (await health.look()).reason is None

        await written(space, database, [new_id("referral") for _ in range(3)])
        assert (await health.look()).reason == "outbox_full"

        async with a_writer(space):
            await until(lambda: _is_sent(space))
        assert (await health.look()).reason is None


async def test_while_too_much_waits_nobody_may_ask_for_more_and_then_again_without_a_restart(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "ROOM_SECONDS", 0.05)
    monkeypatch.setattr(relay, "LOCK_SECONDS", 0.05)
    settings = space.settings(RuntimeSettings, "health").model_copy(update={"outbox_rows_max": 3})
    runtimes: list[Runtime] = []

    def wire(runtime: Runtime, _settings: Any) -> Parts:
        runtimes.append(runtime)
        return Parts()

    async with a_writers_database(space) as database, database.session() as session:
        await session.fetchval("SELECT pg_advisory_lock($1, 0)", relay.LOCK_CLASS)  # as if brokers were away
        async with running("health", settings, wire) as service:
            await written(space, database, [new_id("referral") for _ in range(2)])
            assert not runtimes[0].outbox.is_full
            await written(space, database, [new_id("referral")])
            await until(lambda: runtimes[0].outbox.is_full)
            assert (await service.health.look()).reason == "outbox_full"
            await session.fetchval("SELECT pg_advisory_unlock($1, 0)", relay.LOCK_CLASS)
            await until(lambda: not runtimes[0].outbox.is_full)
            assert await pending(space, "health") == 0


WAITING = """
INSERT INTO outbox (id, shard, topic, key, sequence, value, created_at)
VALUES (1, 3, 't', 'k', 1, 'v', now() - interval '1 hour'), (9000000, 0, 't', 'k', 2, 'v', now());
INSERT INTO dead_letter
  (id, grp, topic, topic_id, part, "offset", record_at, headers, reason, first_at, state)
SELECT n::text, 'g', 't', gen_random_uuid(), 0, n, now(), '[]', 'bad_json', now() - interval '1 day',
  CASE WHEN n < 3 THEN 'waiting' ELSE 'discarded' END FROM generate_series(1, 3) n"""


async def test_what_waits_in_the_database_is_counted_and_told_at_each_look(space: Space) -> None:
    tampering, database = space.database_as_admin("police"), space.database("police")
    health = Health(database, outbox_rows_max=3)
    assert (await health.look()).alarms == []
    async with tampering.transaction() as transaction:
        for statement in WAITING.split(";"):
            await transaction.run(statement)

    found = await health.look()

    assert found.reason is None, "two rows are no full outbox, however far their ids lie apart"
    assert [(alarm.rule, alarm.where) for alarm in found.alarms] == [
        ("dead_letters", "bad_json (2)"),
        ("outbox_waits", "shard 3"),
    ]
    assert found.backlog
    assert (found.backlog.pending, found.backlog.letters) == (2, {"bad_json": 2})
    assert REGISTRY.get_sample_value("concert_dead_letter_depth", {"reason": "bad_json"}) == 2
    assert (REGISTRY.get_sample_value("concert_outbox_oldest_seconds") or 0) > 3_000
    oldest = REGISTRY.get_sample_value("concert_dead_letter_oldest_seconds", {"reason": "bad_json"})
    assert (oldest or 0) > 80_000
    for pool in (tampering, database):
        await pool.close()


async def _is_sent(space: Space) -> bool:
    return await pending(space, "health") == 0


class Killed:
    """The broker ends at once and is started again over the same store."""

    def away(self, kafka: Kafka) -> None:
        assert kafka.process
        kafka.process.kill()

    async def back(self, kafka: Kafka) -> None:
        await kafka.start()
        await kafka.wait_ready()


class Stopped:
    """The broker stands still, holding its connections, and then goes on."""

    def away(self, kafka: Kafka) -> None:
        assert kafka.process
        os.killpg(kafka.process.pid, signal.SIGSTOP)

    async def back(self, kafka: Kafka) -> None:
        assert kafka.process
        os.killpg(kafka.process.pid, signal.SIGCONT)
        await kafka.wait_ready()


@pytest.fixture
def broker(space: Space) -> Kafka:
    """The run's broker, if it is ours to stop."""
    if not space.platform.servers.kafka:
        pytest.skip("the broker of this run belongs to somebody else and is not stopped")
    return space.platform.servers.kafka


@asynccontextmanager
async def without_broker(space: Space, broker: Kafka, outage: Any) -> AsyncIterator[None]:
    outage.away(broker)
    try:
        yield
    finally:
        await asyncio.to_thread(space.platform.loop.call, outage.back(broker))


@pytest.mark.parametrize("outage", [Killed(), Stopped()], ids=["killed", "stopped"])
async def test_what_is_written_while_the_broker_is_away_arrives_once_and_in_order_when_it_is_back(
    space: Space, broker: Kafka, outage: Any
) -> None:
    keys = [new_id("referral") for _ in range(STEP_COUNT)]
    reader = Reader(space)

    async with a_writers_database(space) as database, a_writer(space) as writer, reader.running() as service:
        await written(space, database, keys)
        await until(lambda: len(reader.applied_of(keys)) == STEP_COUNT)
        async with without_broker(space, broker, outage):
            await written(space, database, keys)
            assert await pending(space, "health") == STEP_COUNT
            assert (await writer.health.look()).reason is None
            assert (await service.health.look()).reason is None
        await until(lambda: len(reader.applied_of(keys)) >= 2 * STEP_COUNT, within_seconds=60)
        await until(lambda: _is_sent(space))

    assert Counter(reader.applied_of(keys)) == dict.fromkeys(keys, 2)
    assert await dead_letters(space) == 0  # where the second step of a referral comes first, it is set aside
