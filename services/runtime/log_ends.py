"""Whether the brokers still hold what this service sent; a log that is shorter, or another, is refilled.

Brokers that lost their disks, or what was not written to them yet, say nothing of it: they answer as before.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from services.runtime import kafka, operator_acts, partition_alarms, refusals
from services.runtime.alarms import Alarm
from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.runtime.offsets import Partition, Place
from services.runtime.transaction import Transaction

LOOK_SECONDS: Final = 10.0
ROWS_AT_ONCE: Final = 20_000
"""How many rows one transaction looks through."""
REFILLED: Final = "log_refilled"
EVER: Final = datetime(1, 1, 1, tzinfo=UTC)

_NOW: Final = "SELECT clock_timestamp() AS at"
_NEWEST: Final = """
SELECT k.topic, k.part, l.topic_id, l.next
FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[])) AS k (topic, part)
CROSS JOIN LATERAL (
  SELECT topic_id, next FROM log_end WHERE topic = k.topic AND part = k.part ORDER BY at DESC LIMIT 1) l"""
_STILL_GOOD: Final = """
SELECT max(at) AS at FROM log_end
WHERE topic = :topic AND part = :part AND topic_id = :topic_id AND next <= :next"""
_ACKED: Final = "SELECT topic, part, next FROM log_ack"
_FORGET: Final = """
DELETE FROM log_ack l USING unnest(CAST(:topics AS text[]), CAST(:parts AS int[])) AS k (topic, part)
WHERE l.topic = k.topic AND l.part = k.part"""
_SAMPLE: Final = """
INSERT INTO log_end (topic, part, at, topic_id, next) VALUES (:topic, :part, :at, :topic_id, :next)
ON CONFLICT DO NOTHING"""
_NEXT_STRETCH: Final = """
SELECT sent_at FROM outbox_sent WHERE sent_at > :since ORDER BY sent_at OFFSET :rows_max LIMIT 1"""
_MARK: Final = """
INSERT INTO refilled (topic, at) VALUES (:topic, clock_timestamp())
ON CONFLICT (topic) DO UPDATE SET at = clock_timestamp() RETURNING at"""
_REFILL: Final = "SELECT refill(:topic, :since, :before) AS count"
_PLAN: Final = """
SELECT topic, count(*) AS rows, min(sent_at) AS since FROM outbox_sent
WHERE topic = ANY(CAST(:topics AS text[])) AND sent_at >= :since GROUP BY topic ORDER BY topic"""


@dataclass(frozen=True, slots=True)
class LostStretch:
    """What a partition's log no longer holds: all that was sent since a sample, or ever."""

    partition: Partition
    following: int | None
    """The offset at which a shorter log ends; None where it is another log."""


def lost_stretches(
    samples: Mapping[Partition, Place], found: Mapping[Partition, Place], acked: Mapping[Partition, int]
) -> list[LostStretch]:
    """Compare the logs with what is known of them: newest samples, and what brokers said they hold."""
    lost = []
    for partition, (topic_id, following) in found.items():
        known_id, sampled = samples.get(partition, (topic_id, 0))
        if known_id != topic_id:
            lost.append(LostStretch(partition, None))
        elif following < max(sampled, acked.get(partition, 0)):
            lost.append(LostStretch(partition, following))
    return lost


class LogEnds:
    """Looks where the logs end before anything is sent, and every ten seconds, in the process that sends."""

    def __init__(
        self,
        database: Database,
        group: str,
        topics: Sequence[str],
        producer: kafka.RelayProducer,
        wake: Callable[[], None],
        sends: Callable[[], bool] = lambda: True,
    ) -> None:
        """`sends` says whether this process is the one that sends: it alone looks."""
        self._sends = sends
        self._database = database
        self._group = group
        self._topics = list(topics)
        self._producer = producer
        self._wake = wake
        self._looking = asyncio.Lock()
        self._is_due = True
        self._standing: list[Alarm] = []

    def alarms(self) -> list[Alarm]:
        """What was sent again, until an operator has looked."""
        return self._standing

    def suspect(self) -> None:
        """Brokers refused or went away: nothing is sent until the logs were looked at."""
        self._is_due = True

    async def ready(self) -> None:
        """Return once the logs are known to hold what was sent, or it is in the outbox again."""
        async with self._looking:
            if self._is_due and self._topics:
                await self._look()
                self._is_due = False

    async def sweep(self) -> bool:
        """Look again; brokers that are away are the relay's to tell of."""
        if not self._sends():
            self._is_due, self._standing = True, []  # another process knows; look before sending again
            return False
        async with self._looking:
            try:
                await self._look()
            except Unavailable as error:
                self._is_due = True
                log().info("logs_not_looked_at", error_class=type(error).__name__)
        return False

    async def refill(self, topic: str, since: datetime | None) -> int:
        """Put what was sent to a topic since then back into the outbox; gives how many."""
        async with self._database.transaction() as transaction:
            [marked] = await transaction.rows(_MARK, topic=topic)
        count, at, before = 0, since or EVER, marked.at
        while at < before:
            async with self._database.transaction() as transaction:
                found = await transaction.rows(_NEXT_STRETCH, since=at, rows_max=ROWS_AT_ONCE)
                until = min(found[0].sent_at, before) if found else before
                [moved] = await transaction.rows(_REFILL, topic=topic, since=at, before=until)
            count, at = count + moved.count, until
            crash_point("log_ends.refilled")  # the rest is found by the next look: no sample was taken yet
        self._wake()
        return count

    async def refill_by_hand(self, topic: str | None, since: datetime | None, why: str) -> dict[str, int]:
        """Send again what was sent to a topic, or to all, since then or ever; gives the numbers of rows."""
        counts, planned = {}, await self.plan(topic, since)
        async with self._database.transaction() as transaction:  # on record also where it breaks off
            asked = {"topics": len(planned), "events": sum(row["rows"] for row in planned)}
            await operator_acts.record(transaction, "refill", asked, reason=why)
        for one in self._chosen(topic):
            async with self._looking:
                counts[one] = await self.refill(one, since)
            log().warning(REFILLED, topic=one, count=counts[one])
        return counts

    async def plan(self, topic: str | None, since: datetime | None) -> list[dict[str, Any]]:
        """How many rows of a topic, or of all, would be sent again, and since when they were sent."""
        topics = self._chosen(topic)
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(_PLAN, topics=topics, since=since or EVER)
        return [dict(row) for row in rows]

    def _chosen(self, topic: str | None) -> list[str]:
        if topic is None:
            return self._topics
        if topic not in self._topics:
            raise refusals.NotWritten
        return [topic]

    async def _look(self) -> None:
        async with self._database.transaction() as transaction:
            [now] = await transaction.rows(_NOW)  # before the brokers are asked: what they say is no older
            acked = dict(self._producer.acked)
            for topic, part, following in await transaction.rows(_ACKED):  # before a restart, or by others
                acked[topic, part] = max(following, acked.get((topic, part), 0))
        found = await self._producer.log_ends(self._topics)
        async with self._database.transaction() as transaction:
            samples = await _newest(transaction, found)
            lost = lost_stretches(samples, found, acked)
            since = {one.partition: await _good_until(transaction, one, found) for one in lost}
        reasons = await self._refill_all(lost, since)
        async with self._database.transaction() as transaction:
            for partition, reason in reasons.items():
                await partition_alarms.raise_alarm(transaction, self._group, partition, REFILLED, reason)
            places = [one.partition for one in lost]
            await transaction.run(
                _FORGET, topics=[topic for topic, _ in places], parts=[part for _, part in places]
            )
            changed = {one: place for one, place in found.items() if samples.get(one) != place}
            await transaction.run_each(_SAMPLE, [_row(one, now.at, place) for one, place in changed.items()])
            standing = await partition_alarms.standing(transaction, self._group)
        self._standing = [alarm for _, alarm in standing if alarm.rule == REFILLED]
        for one in lost:
            self._producer.acked.pop(one.partition, None)

    async def _refill_all(
        self, lost: Sequence[LostStretch], since: Mapping[Partition, datetime | None]
    ) -> dict[Partition, str]:
        """Refill each topic of which something is lost, once; gives what to say of each partition."""
        by_topic: dict[str, list[LostStretch]] = {}
        for one in lost:
            by_topic.setdefault(one.partition[0], []).append(one)
        reasons = {}
        for topic, stretches in by_topic.items():
            times = [since[one.partition] or EVER for one in stretches]
            count = await self.refill(topic, min(times))
            log().error(REFILLED, topic=topic, count=count)
            for one in stretches:
                is_other = one.following is None
                what = "another log" if is_other else f"it ended at {one.following}"
                reasons[one.partition] = f"{what}; {count} sent again"
        return reasons


async def _newest(transaction: Transaction, found: Mapping[Partition, Place]) -> dict[Partition, Place]:
    rows = await transaction.rows(
        _NEWEST, topics=[topic for topic, _ in found], parts=[part for _, part in found]
    )
    return {(row.topic, row.part): (row.topic_id, row.next) for row in rows}


async def _good_until(
    transaction: Transaction, lost: LostStretch, found: Mapping[Partition, Place]
) -> datetime | None:
    """When the newest sample was taken that is not above the log's end: what was sent before is there."""
    if lost.following is None:
        return None
    topic, part = lost.partition
    topic_id: UUID = found[lost.partition][0]
    [row] = await transaction.rows(
        _STILL_GOOD, topic=topic, part=part, topic_id=topic_id, next=lost.following
    )
    return row.at if isinstance(row.at, datetime) else None


def _row(partition: Partition, at: datetime, place: Place) -> dict[str, Any]:
    return {"topic": partition[0], "part": partition[1], "at": at, "topic_id": place[0], "next": place[1]}
