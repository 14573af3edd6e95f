"""The processes of a service among themselves, on the real database: numbers, news, and who stands still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.runtime import siblings
from services.runtime.siblings import LOCK_CLASS, Siblings
from services.sector.api import FeedNotifier
from tests.support.platform import Space
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def looks_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siblings, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(siblings, "TAKE_SECONDS", 0.02)


@asynccontextmanager
async def a_process(space: Space, number: int) -> AsyncIterator[Siblings]:
    database = space.database("health")
    process = Siblings(database, number, lease_seconds=6)
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        process.stop()
        await task
        await database.close()


async def cut_the_owner(space: Space) -> None:
    async with space.transaction("health", as_admin=True) as transaction:
        await transaction.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE classid = :lock_class AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            lock_class=LOCK_CLASS,
        )


async def has_asked(space: Space, processes: int) -> bool:
    """Whether so many have a number or have asked for one."""
    async with space.transaction("health", as_admin=True) as transaction:
        rows = await transaction.rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND (query LIKE 'SELECT pg_try_advisory_lock%' OR query LIKE '%FROM pg_locks WHERE locktype%')"
        )
    return len(rows) >= processes


async def test_a_feed_that_grows_in_one_process_wakes_who_waits_in_another_and_none_where_it_is_alone(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_process(space, 1) as first:
        mine = FeedNotifier(first)
        await until(lambda: first.owns_number)
        mine.notify(["quay-clinic"])
        assert not first._news, "nobody listens, and NOTIFY takes a lock of the whole server"

        async with a_process(space, 2) as second:
            theirs = FeedNotifier(second)
            await until(lambda: first.are_there and second.are_there)
            grows, other = theirs.subscribe("quay-clinic"), theirs.subscribe("hill-clinic")
            own = mine.subscribe("quay-clinic")
            mine.notify(["quay-clinic"])

            await asyncio.wait_for(grows.wait(), 30)
            assert (own.is_set(), other.is_set()) == (True, False)

            monkeypatch.setattr(siblings, "NEWS_CHARACTERS_MAX", 100)
            mine.notify({f"clinic-{number}" for number in range(50)})  # more than one NOTIFY may carry
            await asyncio.wait_for(other.wait(), 30)


async def test_one_process_alone_has_a_number_until_it_ends_or_stands_still(space: Space) -> None:
    async with a_process(space, 1) as first:
        await until(lambda: first.owns_number)
        async with a_process(space, 1) as second:
            await until(lambda: has_asked(space, 2))
            assert (first.owns_number, second.owns_number) == (True, False)
            await cut_the_owner(space)  # as if it had stood still for longer than its lease
            await until(lambda: second.owns_number)
            await until(lambda: not first.owns_number)
        await until(lambda: first.owns_number)


async def test_a_session_on_which_nothing_is_asked_ends_with_its_locks(space: Space) -> None:
    database = space.database("health")
    async with database.session(lease_seconds=0.3) as session, database.session() as other:
        await session.execute("SELECT pg_advisory_lock($1, 9)", LOCK_CLASS)
        await until(lambda: session.is_closed())
        assert await other.fetchval("SELECT pg_try_advisory_lock($1, 9)", LOCK_CLASS)
    await database.close()
