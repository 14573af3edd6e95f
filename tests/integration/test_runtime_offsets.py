"""What a reader finds when it comes: each row of the table, on the real broker; it skips nothing silently."""

import asyncio
from collections.abc import Sequence
from typing import Any

from kafka import TopicPartition
from structlog.testing import capture_logs

from schemas.topics import STEPS, TOPICS
from schemas.wire.topic import Topic
from services.runtime import administration, partition_alarms
from services.runtime.ids import new_id
from tests.support.kafka import send_raw
from tests.support.platform import Space
from tests.support.poison import a_good_record
from tests.support.readers import Gate, Reader, alarms_of, duplicates_of, events_told
from tests.support.waiting import until


async def sent(space: Space, topic: Topic, count: int, partition: int = 0) -> list[str]:
    """So many steps about as many referrals, on one partition; their keys."""
    keys = [new_id("referral") for _ in range(count)]
    records = [a_good_record(key, topic=topic) for key in keys]
    await send_raw(space, topic.writer, topic.name(space.namespace), records, partition)
    return keys


async def read_all(space: Space, keys: Sequence[str]) -> tuple[list[str], list[Any]]:
    """What a reader that comes now applies, until these keys are among it; and what it told."""
    reader = Reader(space)
    with capture_logs() as lines:
        async with reader.running():
            await until(lambda: set(keys) <= set(reader.applied))
    return reader.applied, lines


async def stored(space: Space, topic: Topic, partition: int = 0) -> int:
    async with space.transaction("referrals", as_admin=True) as transaction:
        rows = await transaction.rows(
            "SELECT next FROM consumer_offset WHERE topic = :topic AND part = :part",
            topic=topic.name(space.namespace),
            part=partition,
        )
    return int(rows[0].next)


async def moved(space: Space, topic: Topic, following: int, partition: int = 0) -> None:
    """Another process writes where it is."""
    async with space.transaction("referrals", as_admin=True) as transaction:
        await transaction.run(
            "UPDATE consumer_offset SET next = :next, mark = NULL WHERE topic = :topic AND part = :part",
            next=following,
            topic=topic.name(space.namespace),
            part=partition,
        )


async def test_a_reader_begins_at_the_beginning_and_goes_on_where_it_was(space: Space) -> None:
    topic = STEPS["health"]
    first = await sent(space, topic, 5)
    applied, _ = await read_all(space, first)
    dropped = duplicates_of(space)
    second = await sent(space, topic, 5)

    applied_then, lines = await read_all(space, second)

    assert (applied, applied_then) == (first, second)
    assert duplicates_of(space) == dropped
    assert not [line for line in lines if line["log_level"] == "error"]


async def test_a_topic_made_anew_is_read_from_its_beginning(space: Space) -> None:
    topic = STEPS["police"]
    name = topic.name(space.namespace)
    await read_all(space, await sent(space, topic, 5))
    with space.admin() as admin:
        admin.delete_topics([name])
        await until(lambda: not administration.topic_ids(admin, [name]))
        wanted = administration.topology(TOPICS, (), space.namespace, local=True)
        administration.apply(admin, wanted, lambda user: "")
    keys = await sent(space, topic, 8)  # grown past the old offset: taking that would skip five

    applied, lines = await read_all(space, keys)

    assert applied == keys
    assert events_told(lines)("topic_made_anew")


async def test_an_offset_beyond_the_end_goes_back_and_the_inbox_drops_repeats(space: Space) -> None:
    topic = STEPS["social_services"]
    first = await sent(space, topic, 5)
    await read_all(space, first)
    await moved(space, topic, 1_000)
    dropped = duplicates_of(space)
    second = await sent(space, topic, 3)

    applied, lines = await read_all(space, second)

    assert applied == second
    assert duplicates_of(space) == dropped + len(first), (lines, await stored(space, topic))
    assert events_told(lines)("brokers_lost_records")


async def test_a_log_that_was_lost_and_filled_again_past_the_reader_is_read_from_its_beginning(
    space: Space,
) -> None:
    """Going on there would skip, without a word, what stands before in another order."""
    topic = STEPS["civil_society"]
    first = await sent(space, topic, 5)
    await read_all(space, first)
    async with space.transaction("referrals", as_admin=True) as transaction:
        sql = "UPDATE consumer_offset SET mark = mark + 1 WHERE topic = :topic AND next = 5"
        await transaction.run(sql, topic=topic.name(space.namespace))
    dropped = duplicates_of(space)
    second = await sent(space, topic, 3)

    applied, lines = await read_all(space, second)

    assert applied == second
    assert duplicates_of(space) == dropped + len(first)
    assert events_told(lines)("brokers_lost_records")
    assert await standing(space, topic) == [("brokers_lost_records", "from 5 to 0")]


async def test_where_retention_overtook_the_reader_it_goes_on_and_says_so(space: Space) -> None:
    topic = STEPS["education"]
    await read_all(space, await sent(space, topic, 2))
    keys = await sent(space, topic, 6)
    gone = TopicPartition(topic.name(space.namespace), 0)
    with space.admin() as admin:
        admin.delete_records({gone: 5})

    applied, lines = await read_all(space, keys[3:])

    assert applied == keys[3:]
    assert events_told(lines)("retention_overtook_reader")
    assert await standing(space, topic) == [("retention_overtook_reader", "from 2 to 5")]


async def test_a_reader_at_work_that_retention_overtakes_goes_on_under_an_alarm_that_outlives_it(
    space: Space,
) -> None:
    topic, part = STEPS["education"], 1
    place = TopicPartition(topic.name(space.namespace), part)
    told = ("retention_overtook_reader", f"{place.topic}/{part}: from 2 to 7")
    gate = Gate()
    reader = Reader(space, gate)

    async with reader.running() as service:
        first = await sent(space, topic, 1, part)
        await asyncio.wait_for(gate.reached.wait(), 30)
        fetched = await sent(space, topic, 1, part)
        assert service.consumer
        consumer = service.consumer._consumer
        await until(lambda: consumer.highwater(place) == 2)
        later = await sent(space, topic, 8, part)
        with space.admin() as admin:
            admin.delete_records({place: 7})
        gate.opened.set()
        await until(lambda: set(later[5:]) <= set(reader.applied))
        assert told in alarms_of(service)
    assert reader.applied == [*first, *fetched, *later[5:]]
    assert await standing(space, topic, part) == [("retention_overtook_reader", "from 2 to 7")]

    async with Reader(space).running() as again:
        await until(lambda: told in alarms_of(again))


async def standing(space: Space, topic: Topic, part: int = 0) -> list[tuple[str, str]]:
    """The alarms over a partition that no operator has ended, with what made them fire."""
    async with space.transaction("referrals") as transaction:
        found = await partition_alarms.standing(transaction, f"{space.namespace}referrals")
    place = (topic.name(space.namespace), part)
    return [(one.rule, one.where.partition(": ")[2]) for partition, one in found if partition == place]


async def test_who_finds_that_another_process_moved_on_rolls_back_and_follows(space: Space) -> None:
    topic = STEPS["health"]
    await read_all(space, [*await sent(space, topic, 1, 1), *await sent(space, topic, 1, 2)])
    begun = await stored(space, topic, 1)
    theirs, ours = await sent(space, topic, 5, 1), await sent(space, topic, 5, 1)
    beside = await sent(space, topic, 5, 2)
    gate = Gate()
    reader = Reader(space, gate)

    with capture_logs() as lines:
        async with reader.running():
            await asyncio.wait_for(gate.reached.wait(), 30)
            await moved(space, topic, begun + len(theirs), 1)
            gate.opened.set()
            await until(lambda: {*ours, *beside} <= set(reader.applied))

    assert events_told(lines)("partitions_lost")
    assert sorted(reader.applied) == sorted([*ours, *beside])
    assert await stored(space, topic, 1) == begun + len(theirs) + len(ours)


async def test_the_database_is_believed_where_the_brokers_remember_a_later_place(space: Space) -> None:
    topic = STEPS["police"]
    keys = await sent(space, topic, 5, 1)
    await read_all(space, keys)
    await forgotten(space, topic, 1)

    applied, _ = await read_all(space, keys)

    assert applied == keys


async def forgotten(space: Space, topic: Topic, partition: int) -> None:
    """What a restored copy of the database does not know yet."""
    async with space.transaction("referrals", as_admin=True) as transaction:
        await transaction.run("DELETE FROM inbox")
        await transaction.run("DELETE FROM sequence_in")
    await moved(space, topic, (await stored(space, topic, partition)) - 5, partition)
