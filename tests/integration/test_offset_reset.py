"""An operator has a reader go back or on: as planned, once, by whoever may, and else refused by name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from schemas.topics import STEPS
from services.runtime import consumer, offset_reset, partition_alarms
from services.runtime.ids import new_id
from services.runtime.partition_alarms import STOPPED
from services.runtime.peers import internal_client
from services.runtime.process import running
from services.runtime.settings import PortSettings, RuntimeSettings
from services.runtime.siblings import LOCK_CLASS
from tests.integration.test_poison import Reader
from tests.integration.test_runtime_offsets import sent, stored
from tests.support.acts import acted, an_order, ordered, rehearsed
from tests.support.platform import Space
from tests.support.ports import free_port
from tests.support.readers import alarms_of
from tests.support.waiting import until

TOPIC = STEPS["police"]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(consumer, "POLL_MS", 200)


@asynccontextmanager
async def a_reader(space: Space) -> AsyncIterator[tuple[Reader, httpx2.AsyncClient, Any]]:
    """The arbiter's reader, whoever acts upon it, and its process."""
    port, reader = free_port(), Reader()
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    tls, address = space.tls_settings("operations"), f"https://127.0.0.1:{port}"
    async with (
        running("referrals", settings, reader.wire) as service,
        internal_client(tls, "referrals", base_url=address) as operations,
    ):
        yield reader, operations, service


async def stopped(space: Space, partition: int) -> None:
    """As after too many letters: nothing of it is read until it may go on."""
    group, place = f"{space.namespace}referrals", (TOPIC.name(space.namespace), partition)
    async with space.transaction("referrals") as transaction:
        await partition_alarms.raise_alarm(transaction, group, place, STOPPED, "a trial")


async def test_a_reader_skips_what_two_agreed_to_and_goes_back_to_it_alone(space: Space) -> None:
    topic, part = TOPIC.name(space.namespace), 1
    place, plan = {"topic": topic, "partition": part}, new_id("plan")
    first = await sent(space, TOPIC, 3, part)

    async with a_reader(space) as (reader, operations, service):
        await until(lambda: set(first) <= set(reader.seen))
        await stopped(space, part)
        await until(lambda: (STOPPED, f"{topic}/{part}: a trial") in alarms_of(service))
        later = await sent(space, TOPIC, 3, part)
        _, planned = await rehearsed(operations, "reset", **place, to=5)
        scope = planned["scope"]
        alone = await ordered(operations, "reset", scope, 2, approved_by=None)
        done = [await ordered(operations, "reset", scope, 2, plan=plan) for _ in range(2)]
        assert await acted(operations, "resume", **place) == (200, {"ended": 1})
        await until(lambda: later[2] in reader.seen)
        assert not set(later[:2]) & set(reader.seen)

        back = await rehearsed(operations, "reset", **place, to=0)
        assert await ordered(operations, "reset", back[1]["scope"], 6, approved_by=None) == (200, {"back": 6})
        await until(lambda: set(later) <= set(reader.seen))
        await until(lambda: _is_at(space, part, 6))

    assert (planned["count"], planned["skips"], planned["figures"]) == (2, True, {"following": 3, "to": 5})
    assert alone == (403, "second_person_needed")
    assert done == [(200, {"skipped": 2})] * 2
    assert (back[1]["count"], back[1]["skips"]) == (6, False)
    assert sorted(reader.seen) == sorted([*first, *later]), "nothing took effect twice"


async def _is_at(space: Space, part: int, following: int) -> bool:
    return await stored(space, TOPIC, part) == following


async def test_a_reset_is_refused_by_name_and_moves_nothing(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, part = TOPIC.name(space.namespace), 2
    place = {"topic": topic, "partition": part}
    keys = await sent(space, TOPIC, 3, part)

    async with a_reader(space) as (reader, operations, _):
        await until(lambda: set(keys) <= set(reader.seen))
        nowhere = [await rehearsed(operations, "reset", **place, to=to) for to in (3, 99)]
        unknown = await rehearsed(operations, "reset", topic="concert.other", partition=0, to=0)
        _, planned = await rehearsed(operations, "reset", **place, to=1)
        later = await sent(space, TOPIC, 1, part)
        await until(lambda: set(later) <= set(reader.seen))
        moved_on = await ordered(operations, "reset", planned["scope"], 2)
        monkeypatch.setattr(offset_reset, "IDS_KEPT", timedelta(days=-1))
        beyond = await rehearsed(operations, "reset", **place, to=1)
        monkeypatch.undo()
        async with a_sibling(space):
            await until(lambda: _is_refused(operations, place))
            elsewhere = await ordered(operations, "reset", planned["scope"] | {"following": 4}, 3)

    assert [*nowhere, unknown] == [(404, "no_such_offset")] * 3
    assert moved_on == (409, "offset_moved")
    assert beyond == (409, "beyond_inbox")
    assert elsewhere == (409, "reader_elsewhere")
    assert await _is_at(space, part, 4)


@asynccontextmanager
async def a_sibling(space: Space) -> AsyncIterator[None]:
    """Another process of the arbiter, by the lock that it holds."""
    database = space.database("referrals")
    try:
        async with database.session() as session:
            assert await session.fetchval("SELECT pg_try_advisory_lock($1, 2)", LOCK_CLASS)
            yield
    finally:
        await database.close()


async def _is_refused(operations: httpx2.AsyncClient, place: dict[str, Any]) -> bool:
    return bool((await rehearsed(operations, "reset", **place, to=1))[1] == "reader_elsewhere")


async def test_whoever_lost_the_answer_of_an_act_asks_again_and_it_is_done_once(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, part = TOPIC.name(space.namespace), 0
    keys, breaks = await sent(space, TOPIC, 2, part), ["acts.reset"]

    def break_off(place: str) -> None:
        if place in breaks:
            breaks.remove(place)
            raise RuntimeError

    monkeypatch.setattr(offset_reset, "crash_point", break_off)
    async with a_reader(space) as (reader, operations, _):
        await until(lambda: set(keys) <= set(reader.seen))
        _, planned = await rehearsed(operations, "reset", topic=topic, partition=part, to=0)
        order = an_order()
        answers = [await ordered(operations, "reset", planned["scope"], 2, **order) for _ in range(2)]
        more = await sent(space, TOPIC, 1, part)
        await until(lambda: set(more) <= set(reader.seen))
        await until(lambda: _is_at(space, part, 3))

    assert answers == [(500, "unexpected"), (200, {"back": 2})]
    assert sorted(reader.seen) == sorted([*keys, *more])
    async with space.transaction("referrals") as transaction:
        acts = await transaction.rows("SELECT 1 FROM operator_act WHERE plan = :plan", plan=order["plan"])
    assert len(acts) == 1
