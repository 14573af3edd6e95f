"""Harm 31, a dead consumer: killed at each line of the durable path, it loses and doubles nothing."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import INBOX, REFERRALS_FACTS, STEPS
from schemas.wire import envelope
from schemas.wire.topic import Topic
from services.referrals.settings import Settings
from services.referrals.store import ReferralStore
from services.referrals.wiring import wire
from services.runtime.ids import new_id
from services.runtime.kafka import security
from services.runtime.process import running
from tests.support.builders import OWNER, SECTOR_OF, a_protocol_current, a_step, an_agency, an_entry, an_offer
from tests.support.kafka import event_record, send_raw
from tests.support.platform import CELL, Space
from tests.support.processes import KILLED_BY_ITSELF, a_process
from tests.support.waiting import until

REFERRALS = 30
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
KILLS = {
    "before the commit": (
        "consumer.fetched", "consumer.begun", "consumer.taken", "consumer.handled", "consumer.moved",
    ),
    "behind it": (
        "consumer.committed", "relay.claimed", "relay.sent", "relay.acked", "relay.committed",
    ),
    "once brokers were told": ("consumer.told",),
}  # fmt: skip
"""Where one process after the other is killed over the same records: each finds what the one before left."""
MUTANTS = {
    "rows move before they are sent": ("relay.claimed", """
from services.runtime import relay
relay.NEXT = '''WITH moved AS (DELETE FROM outbox WHERE shard = :shard AND :rows_max > 0 RETURNING *),
sent AS (INSERT INTO outbox_sent (id, shard, topic, key, sequence, value, created_at) SELECT * FROM moved)
SELECT id, topic, key, value, 0 AS began FROM moved ORDER BY id'''
"""),
    "the newest are sent first": ("relay.acked", """
from services.runtime import relay
relay.NEXT = relay.NEXT.replace('ORDER BY id', 'ORDER BY id DESC')
"""),
}  # fmt: skip
"""Control of the relay that is left out → where the process ends, and what leaves it out."""
OWNERS_STEPS = STEPS[SECTOR_OF[OWNER]]


@pytest.fixture(scope="module", autouse=True)
async def surroundings(space: Space) -> None:
    async with space.transaction("referrals") as transaction:
        store = ReferralStore(transaction, space.outbox("referrals"), {})
        await store.keep_agencies([an_agency(agency) for agency in SECTOR_OF])
        await store.keep_protocols([a_protocol_current(valid_from=NOW - DAY, valid_until=NOW + DAY)])
        await store.keep_entries([an_entry(confirmed_at=NOW - DAY)], NOW)


def steps_about(referral: str) -> list[Any]:
    """An offer, and her withdrawal."""
    offer = an_offer(referral, consent={"expires_at": NOW + DAY})
    withdrawal = a_step("withdraw", OWNER, referral)
    return [
        event_record(OWNERS_STEPS, body, sequence=number, at=NOW)
        for number, body in enumerate((offer, withdrawal), 1)
    ]


async def records_of(space: Space, reader: str, topic: Topic) -> list[envelope.ReadEvent[Any]]:
    consumer = AIOKafkaConsumer(**security(space.kafka_settings(reader)))
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic.name(space.namespace), part) for part in range(topic.partitions_local)
        ]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        found: list[Any] = []
        while len(found) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
    finally:
        await consumer.stop()
    return [envelope.read(topic, one.headers, one.key, one.value, cell=CELL, mode="local") for one in found]


async def pending(space: Space) -> int:
    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows("SELECT count(*) AS pending FROM outbox")
    return int(rows[0].pending)


@pytest.mark.parametrize("where", KILLS)
async def test_harm_31_a_kill_at_any_line_loses_nothing_and_does_nothing_twice(
    space: Space, where: str
) -> None:
    await every_party_was_told_in_order(space, await answered_after_kills(space, KILLS[where]))


@pytest.mark.parametrize("control", MUTANTS)
async def test_harm_31_is_red_where_a_control_of_the_relay_is_left_out(space: Space, control: str) -> None:
    point, mutant = MUTANTS[control]
    referrals = await answered_after_kills(space, [point], mutant)

    with pytest.raises(AssertionError):
        await every_party_was_told_in_order(space, referrals)


async def answered_after_kills(space: Space, points: Sequence[str], mutant: str = "") -> list[str]:
    """Referrals over which a process was killed at each of these points, and the last one answered."""
    settings = space.settings(Settings, "referrals")
    referrals = [new_id("referral") for _ in range(REFERRALS)]
    async with space.transaction("referrals") as transaction:
        await transaction.run("DELETE FROM outbox")  # or a relay would be killed over receipts of before
    records = [record for one in referrals for record in steps_about(one)]
    await send_raw(space, OWNERS_STEPS.writer, OWNERS_STEPS.name(space.namespace), records)

    for point in points:
        async with a_process("referrals", settings, mutant=mutant, CONCERT_CRASH_AT=point) as doomed:
            assert await asyncio.wait_for(doomed.wait(), 30) == KILLED_BY_ITSELF, point
    async with running("referrals", settings, wire):
        await until(lambda: _all_answered(space, referrals))
    return referrals


async def _all_answered(space: Space, referrals: list[str]) -> bool:
    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows(
            "SELECT count(*) AS done FROM referral WHERE id = ANY(CAST(:ids AS text[])) AND version = 2",
            ids=referrals,
        )
    return rows[0].done == len(referrals) and await pending(space) == 0


async def every_party_was_told_in_order(space: Space, referrals: list[str]) -> None:
    """On each outgoing topic: one event for each step, in their order, however often its record was sent."""
    owner_inbox, receiver_inbox = INBOX[SECTOR_OF[OWNER]], INBOX["health"]
    for reader, topic in (
        (owner_inbox.readers[0], owner_inbox),
        (receiver_inbox.readers[0], receiver_inbox),
        ("notifications", REFERRALS_FACTS),
    ):
        events = {event.id: event for event in await records_of(space, reader, topic)}  # as they came first
        told: dict[str, list[int]] = {one: [] for one in referrals}
        for event in events.values():
            if event.key in told:
                told[event.key].append(event.sequence)
        assert told == {one: [1, 2] for one in referrals}, topic.title
