"""What a reader applied it confirms; what nobody confirms is sent again, with its bytes, until it is."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kafka import TopicPartition

from schemas.events.referral import AcknowledgeReferral
from schemas.topics import STEPS, inbox_of, written_by
from services.runtime import consumer, process, receipts
from services.runtime.ids import new_id
from services.runtime.process import Parts, ServiceProcess, running
from services.runtime.settings import PortSettings, RuntimeSettings
from services.runtime.subscription import OutboxEvent, Subscription
from tests.support.platform import Space
from tests.support.poison import AT
from tests.support.readers import Reader, alarms_of
from tests.support.waiting import until

TOPIC = STEPS["health"]
STEP_COUNT = 30


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as in earnest, in seconds instead of minutes."""
    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(consumer, "POLL_MS", 200)
    monkeypatch.setattr(process, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(receipts, "RESEND_AFTER", (1.0, 2.0))
    monkeypatch.setattr(receipts, "ALARM_AFTER", 3.0)


async def ignore(_events: Sequence[Any], _work: Any) -> None:
    """The sector keeps nothing here."""


@asynccontextmanager
async def a_writer(space: Space, port: int = 0) -> AsyncIterator[ServiceProcess]:
    """The health sector's runtime: its relay, and the reader of its inbox, on which receipts come."""
    parts = Parts(subscriptions=(Subscription((inbox_of("health"),), ignore),), writes=written_by("health"))
    settings = space.settings(RuntimeSettings, "health", ports=PortSettings(internal=port))
    async with running("health", settings, lambda *_: parts) as service:
        yield service


def a_reader(space: Space) -> Reader:
    return Reader(space, topics=[TOPIC], writes=written_by("referrals"))


async def written(space: Space, keys: Sequence[str]) -> None:
    """A step about each of these referrals."""
    events = [
        OutboxEvent(TOPIC, AcknowledgeReferral(referral=key, agency="north-clinic", duty="intake"), AT)
        for key in keys
    ]
    async with space.transaction("health") as transaction:
        await space.outbox("health").add(transaction, events)


async def kept(space: Space, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The last number of each key, and the one that is confirmed."""
    async with space.transaction("health") as transaction:
        rows = await transaction.rows(
            "SELECT key, last, confirmed FROM sequence_out WHERE key = ANY(CAST(:keys AS bytea[]))",
            keys=[key.encode() for key in keys],
        )
    return {row.key.decode(): (row.last, row.confirmed) for row in rows}


async def sent(space: Space, keys: Sequence[str]) -> dict[int, bytes]:
    """The rows that were sent and are kept."""
    async with space.transaction("health") as transaction:
        rows = await transaction.rows(
            "SELECT id, value FROM outbox_sent WHERE key = ANY(CAST(:keys AS bytea[]))",
            keys=[key.encode() for key in keys],
        )
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row.value for row in rows}


async def clock_back(space: Space) -> None:
    """As if the machine's clock went back by an hour: what was kept before is of a time to come."""
    async with space.transaction("health", as_admin=True) as transaction:
        columns = await transaction.rows(
            "SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
            " AND atttypid = 'timestamptz'::regtype"
        )
        for table, column in columns:
            await transaction.run(f"UPDATE \"{table}\" SET {column} = {column} + interval '1 hour'")


async def test_steps_are_confirmed_also_where_the_reader_has_told_nobody_the_first_time(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, reader = [new_id("referral") for _ in range(STEP_COUNT)], a_reader(space)
    tell = receipts.Receipts.tell

    async def lose(self: Any, *_: Any) -> None:
        self._untold = {}

    async with a_writer(space) as writer, reader.running() as service:
        monkeypatch.setattr(receipts.Receipts, "tell", lose)
        await written(space, keys)
        await until(lambda: len(reader.applied_of(keys)) == STEP_COUNT)
        before = await until(lambda: sent(space, keys))
        monkeypatch.setattr(receipts.Receipts, "tell", tell)
        await until(lambda: _all(space, keys, (1, 1)))
        await until(lambda: _none_unconfirmed(space))

        assert Counter(reader.applied_of(keys)) == dict.fromkeys(keys, 1)
        assert await until(lambda: sent(space, keys)) == before
        for one in (writer, service):
            assert "unconfirmed" not in {alarm.rule for alarm in (await one.health.look()).alarms}


async def test_what_retention_took_from_a_reader_comes_again_and_what_nobody_confirms_is_an_alarm(
    space: Space,
) -> None:
    first, lost, behind = ([new_id("referral") for _ in range(STEP_COUNT)] for _ in range(3))
    async with a_writer(space) as writer:
        async with a_reader(space).running():
            await written(space, first)
            await until(lambda: _all(space, first, (1, 1)))
        await written(space, lost)
        await until(lambda: sent(space, lost))
        await clock_back(space)
        await until(lambda: _overdue(writer))
        with space.admin() as admin:
            partitions = [
                TopicPartition(TOPIC.name(space.namespace), part) for part in range(TOPIC.partitions_local)
            ]
            admin.delete_records(dict.fromkeys(partitions, -1))  # to the end

        await written(space, [*behind, *lost])
        reader = a_reader(space)
        async with reader.running() as service:
            await until(lambda: _all(space, behind, (1, 1)))
            await until(lambda: _all(space, lost, (2, 2)))
            await until(lambda: _none_unconfirmed(space))
            assert {"retention_overtook_reader"} <= {rule for rule, _ in alarms_of(service)}
            assert not await _overdue(writer)

    assert Counter(reader.applied) == {**dict.fromkeys(lost, 2), **dict.fromkeys(behind, 1)}


async def _all(space: Space, keys: Sequence[str], expected: tuple[int, int]) -> bool:
    return await kept(space, keys) == dict.fromkeys(keys, expected)


async def _none_unconfirmed(space: Space) -> bool:
    async with space.transaction("health") as transaction:
        return not await transaction.rows("SELECT key FROM unconfirmed")


async def _overdue(writer: ServiceProcess) -> bool:
    return "unconfirmed" in {alarm.rule for alarm in (await writer.health.look()).alarms}
