"""A log that ends before its last sample is refilled with what was sent since it was that long."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from services.cli.lag import lag_of, seconds_behind
from services.runtime import log_ends, partition_alarms, process
from services.runtime.errors import Unavailable
from services.runtime.ids import new_id
from services.runtime.log_ends import LostStretch, lost_stretches
from services.runtime.peers import internal_client
from tests.integration.test_receipts import TOPIC, a_writer, clock_back, sent, written
from tests.support.acts import ordered, rehearsed
from tests.support.platform import Space
from tests.support.ports import free_port
from tests.support.waiting import until

STEP_COUNT = 3
NOW = "SELECT nextval('send_order')"


async def is_sampled(space: Space) -> bool:
    """Whether the newest samples know of all that brokers hold."""
    async with space.transaction("health") as transaction:
        rows = await transaction.rows(
            "SELECT FROM log_ack a WHERE topic = :topic AND next > coalesce((SELECT next FROM log_end l"
            " WHERE l.topic = a.topic AND l.part = a.part ORDER BY place DESC LIMIT 1), 0)",
            topic=TOPIC.name(space.namespace),
        )
    return not rows


async def test_only_what_was_sent_since_the_last_good_sample_is_sent_again_even_where_it_breaks_off(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = iter([Unavailable("as a kill between two stretches")])

    def break_off(place: str) -> None:
        if place == "log_ends.refilled" and (one := next(breaks, None)):
            raise one

    def noted(*given: Any) -> list[LostStretch]:
        found.append(lost_stretches(*given))
        return found[-1]

    found: list[list[LostStretch]] = []
    monkeypatch.setattr(log_ends, "lost_stretches", noted)
    monkeypatch.setattr(log_ends, "crash_point", break_off)
    monkeypatch.setattr(log_ends, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.1)
    first, second = ([new_id("referral") for _ in range(STEP_COUNT)] for _ in range(2))

    async with a_writer(space):
        for keys in (first, second):
            for key in keys:
                await written(space, [key])
                await until(partial(_is_sent_again, space, 0, [key]))
            await until(partial(is_sampled, space))
        await clock_back(space)
        since = await shortened(space, second[0])
        await until(lambda: _is_sent_again(space, since, second))
        assert len(await sent_again(space, since, first)) <= 1, "acked before the sample, moved after it"
        assert "log_refilled" in await standing(space)
        assert next(breaks, None) is None
        found.clear()
        await until(lambda: len(found) > 2)
        assert not any(found), "sent again once, not at each look"


async def test_what_brokers_held_after_the_last_look_counts_when_the_writer_comes_again(
    space: Space,
) -> None:
    topic, keys = TOPIC.name(space.namespace), [new_id("referral")]
    async with a_writer(space):
        await written(space, keys)
        await until(lambda: _is_sent_again(space, 0, keys))
    async with space.transaction("health") as transaction:
        await transaction.run("UPDATE log_ack SET next = next + 100 WHERE topic = :topic", topic=topic)
    since = await one_of(space, NOW)

    async with a_writer(space):
        await until(lambda: _is_sent_again(space, since, keys))

    assert "log_refilled" in await standing(space)
    async with space.transaction("health") as transaction:
        [kept] = await transaction.rows("SELECT max(next) AS next FROM log_ack WHERE topic = :t", t=topic)
    assert kept.next < 100, "told once, of what is there now"


async def test_an_operator_sees_the_plan_and_lets_a_topic_be_sent_again_with_a_reason(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, topic, keys = free_port(), TOPIC.name(space.namespace), [new_id("referral")]
    address = f"https://127.0.0.1:{port}"

    async with a_writer(space, port):
        await written(space, keys)
        await until(lambda: _is_sent_again(space, 0, keys))
        before = await sent(space, keys)
        async with (
            internal_client(space.tls_settings("operator"), "health", base_url=address) as stranger,
            internal_client(space.tls_settings("operations"), "health", base_url=address) as operations,
        ):
            refused = await rehearsed(stranger, "refill")
            foreign = await rehearsed(operations, "refill", topic="concert.other.v1")
            _, planned = await rehearsed(operations, "refill", topic=topic)
            now, plan, count = await one_of(space, NOW), new_id("plan"), planned["count"]
            done = await ordered(operations, "refill", planned["scope"], count, plan=plan)
            assert await until(lambda: _is_sent_again(space, now, keys))
            later = await one_of(space, NOW)
            again = await ordered(operations, "refill", planned["scope"], count, plan=plan)
            assert not await _is_sent_again(space, later, keys), "whoever lost the answer has it sent once"
            monkeypatch.setattr(log_ends, "_MARK", "SELECT no_such_column")
            broken_off = await ordered(operations, "refill", planned["scope"], count)
        assert (refused, foreign) == ((403, "operations_only"), (404, "not_written"))
        assert planned["figures"] == {topic: count}
        assert done == again == (200, {"sent_again": count})
        assert count >= 1

    assert await sent(space, keys) == before, "the same ids and bytes"
    assert broken_off[0] == 500
    async with space.transaction("health") as transaction:
        rows = await transaction.rows("SELECT verb, reason FROM operator_act")
    assert [tuple(row) for row in rows] == [("refill", "mended")] * 2, "on record, done or not"


async def test_seconds_count_since_a_log_was_first_seen_beyond_a_position(space: Space) -> None:
    topic, this, other = f"{space.namespace}lag", UUID(int=1), UUID(int=2)
    samples = [(other, 90, 900), (this, 5, 300), (this, 5, 200), (this, 9, 100)]
    async with space.transaction("health", as_admin=True) as transaction:
        for part in (0, 1, 2):
            for topic_id, following, ago in samples:
                await transaction.run(
                    "INSERT INTO log_end (topic, part, place, topic_id, next, at) VALUES (:topic, :part,"
                    " nextval('send_order'), :topic_id, :next, now() - make_interval(secs => :ago))",
                    **{"topic": topic, "part": part, "ago": ago, "topic_id": topic_id, "next": following},
                )
    positions = {(topic, 0): 5, (topic, 1): 3, (topic, 2): 9}
    async with space.platform.server.connection(space.database_name("health")) as connection:
        seconds = await seconds_behind(connection, positions, {topic: this})

    assert {part: round(one, -1) for (_, part), one in seconds.items()} == {0: 100, 1: 300}
    ends = {(topic, 0): 9, (topic, 1): 9, (topic, 2): 11}
    assert lag_of(positions, ends, seconds) == {"messages": 12, "seconds": 300}
    assert lag_of({(topic, 2): 9}, ends, seconds) == {"messages": 2, "seconds": 0}


async def one_of(space: Space, sql: str) -> Any:
    async with space.transaction("health") as transaction:
        [[value]] = await transaction.rows(sql)
    return value


async def shortened(space: Space, key: str) -> int:
    """Forget samples from this step on, and pretend that a log was longer than it is."""
    async with space.transaction("health", as_admin=True) as transaction:
        await transaction.run(
            "DELETE FROM log_end WHERE place > (SELECT min(place) FROM outbox_sent WHERE key = :key)",
            key=key.encode(),
        )
        [row] = await transaction.rows(
            "INSERT INTO log_end (topic, part, place, topic_id, next)"
            " SELECT topic, part, nextval('send_order'), topic_id, 1000 FROM log_end"
            " WHERE topic = :topic ORDER BY place DESC LIMIT 1 RETURNING place",
            topic=TOPIC.name(space.namespace),
        )
    return int(row.place)


async def sent_again(space: Space, since: int, keys: Sequence[str]) -> set[bytes]:
    """Which of these keys were sent since then; each has one row."""
    async with space.transaction("health") as transaction:
        rows = await transaction.rows(
            "SELECT key, place FROM outbox_sent WHERE key = ANY(CAST(:keys AS bytea[]))",
            keys=[key.encode() for key in keys],
        )
    assert len({row.key for row in rows}) == len(rows)
    return {row.key for row in rows if row.place > since}


async def _is_sent_again(space: Space, since: int, keys: Sequence[str]) -> bool:
    return len(await sent_again(space, since, keys)) == len(keys)


async def standing(space: Space) -> set[str]:
    async with space.transaction("health") as transaction:
        found = await partition_alarms.standing(transaction, f"{space.namespace}health")
    return {alarm.rule for _, alarm in found}
