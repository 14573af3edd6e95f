"""The relay on a real database: a failed send keeps nobody out, and nothing is skipped."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka.errors import KafkaConnectionError

from services.runtime.database import Database
from services.runtime.relay import Relay
from tests.support.platform import Space
from tests.support.waiting import until

_ROW = """INSERT INTO outbox (shard, topic, key, sequence, value)
SELECT 0, 'tried', CAST('k' AS bytea), n, CAST('v' AS bytea) FROM generate_series(1, 3) AS n"""


async def is_empty(onlooker: Database) -> bool:
    async with onlooker.transaction() as transaction:
        return not await transaction.rows("SELECT 1 FROM outbox")


async def test_after_failed_sends_the_relay_finds_its_own_lock_again(space: Space) -> None:
    database = Database.connect(space.database_settings("referrals"), application="tests", pool=6)
    onlooker = space.database("referrals")
    tries: list[list[int]] = []

    async def produce(rows: Sequence[Any]) -> None:
        tries.append([row.id for row in rows])
        if len(tries) < 3:
            raise KafkaConnectionError

    # Idle connections lie in the pool: the relay is given another one after each failure.
    async with database.transaction(), database.transaction(), database.transaction(), database.transaction():
        pass
    async with database.transaction() as transaction:
        await transaction.run(_ROW)
    relay = Relay(database, shard=0)
    relay.produce = produce
    running = asyncio.create_task(relay.run())
    try:
        await until(lambda: is_empty(onlooker))
    finally:
        relay.stop()
        await running
        await database.close()
        await onlooker.close()

    assert len(tries) == 3
    assert tries[0] == tries[1] == tries[2]
