"""One relay a shard: a second one waits, and goes on in order once the first is gone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from schemas.events.referral import AcknowledgeReferral
from schemas.topics import STEPS
from services.runtime.database import Database
from services.runtime.ids import new_id
from services.runtime.relay import LOCK_CLASS, Relay, relay
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Transaction
from tests.support.platform import Space
from tests.support.poison import AT
from tests.support.waiting import until

SHARD = 0


class Recorder:
    """Takes rows as the brokers would, after so many refusals, and remembers who brought which."""

    def __init__(self, refusals: Sequence[Exception] = ()) -> None:
        self.brought: list[tuple[str, int]] = []
        self._refusals = iter(refusals)

    def of(self, name: str) -> Any:
        """What one relay produces to."""

        async def produce(rows: Sequence[Any]) -> dict[tuple[str, int], int]:
            for refusal in self._refusals:
                raise refusal
            self.brought += [(name, row.id) for row in rows]
            return {}

        return produce

    @property
    def owners(self) -> list[str]:
        """Who brought something, in order of appearance."""
        return list(dict.fromkeys(name for name, _ in self.brought))

    @property
    def numbers(self) -> list[int]:
        """The rows' numbers as they came."""
        return [number for _, number in self.brought]


@asynccontextmanager
async def a_relay(space: Space, name: str, recorder: Recorder) -> AsyncIterator[Relay]:
    """A relay with connections of its own, as another process would have."""
    database = space.database("health")
    async with database.transaction() as one, database.transaction() as two:  # a pool with some choice
        await asyncio.gather(one.run("SELECT 1"), two.run("SELECT 1"))
    relay = Relay(database, recorder.of(name), shard=SHARD)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay.run())
        yield relay
        relay.stop()
        await task
    await database.close()


@pytest.fixture
async def database(space: Space) -> AsyncIterator[Database]:
    database = space.database("health")
    yield database
    await database.close()


async def written(space: Space, database: Database, count: int) -> None:
    outbox, key = space.outbox("health"), new_id("referral")
    body = AcknowledgeReferral(referral=key, agency="north-clinic", duty="intake")
    for _ in range(count):
        async with database.transaction() as transaction:
            await outbox.add(transaction, [OutboxEvent(STEPS["health"], body, AT)])


async def cut_the_owner(space: Space) -> None:
    """End the session that holds the shard's lock."""
    async with space.transaction("health", as_admin=True) as transaction:
        rows = await transaction.rows(
            "SELECT pg_terminate_backend(pid) AS is_cut FROM pg_locks"
            " WHERE locktype = 'advisory' AND classid = :class AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            **{"class": LOCK_CLASS},
        )
    assert len(rows) == 1


async def test_of_two_relays_one_sends_and_the_other_follows_when_it_stops(
    space: Space, database: Database
) -> None:
    recorder = Recorder()

    async with a_relay(space, "second", recorder) as second:
        await written(space, database, 5)
        await until(lambda: len(recorder.brought) == 5)
        async with a_relay(space, "third", recorder):
            await written(space, database, 20)
            await until(lambda: len(recorder.brought) == 25)
            assert recorder.owners == ["second"]
            second.stop()
            await written(space, database, 5)
            await until(lambda: len(recorder.brought) == 30)

    assert recorder.owners == ["second", "third"]
    assert recorder.numbers == sorted(set(recorder.numbers))


async def test_what_was_sent_while_its_topic_is_refilled_stays_and_goes_again(
    space: Space, database: Database
) -> None:
    """It may lie in the log that was lost, and the refill has not seen it in `outbox_sent`."""

    async def produce(_rows: Sequence[Any]) -> dict[tuple[str, int], int]:
        async with space.transaction("health") as other:
            await other.run("INSERT INTO refilled VALUES ('a topic', nextval('send_order'))")
        return {("a topic", 0): 1}

    await written(space, database, 1)
    async with database.session() as session:
        await relay(Transaction(session), produce, shard=SHARD)
    assert await _left(database) == 1

    async with database.session() as session:
        await relay(Transaction(session), Recorder().of("again"), shard=SHARD)
    assert await _left(database) == 0


async def test_a_lost_connection_loses_the_shard_and_nothing_else(space: Space, database: Database) -> None:
    recorder = Recorder()

    async with a_relay(space, "one", recorder), a_relay(space, "other", recorder):
        await written(space, database, 5)
        await until(lambda: len(recorder.brought) == 5)
        await cut_the_owner(space)
        await written(space, database, 20)
        await until(lambda: len(set(recorder.numbers)) == 25)

    # What the brokers took just before the cut may come once more, under the same ids.
    first_seen = list(dict.fromkeys(recorder.numbers))
    assert first_seen == sorted(first_seen)
    assert await _left(database) == 0


async def test_what_the_brokers_refuse_stays_and_comes_again_in_order(
    space: Space, database: Database
) -> None:
    recorder = Recorder(refusals=(TimeoutError(), OSError()))

    async with a_relay(space, "only", recorder):
        await written(space, database, 10)
        await until(lambda: len(recorder.brought) == 10)

    assert recorder.numbers == sorted(set(recorder.numbers))
    assert await _left(database) == 0


async def _left(database: Database) -> int:
    async with database.transaction() as transaction:
        rows = await transaction.rows("SELECT count(*) AS pending FROM outbox")
    return int(rows[0].pending)
