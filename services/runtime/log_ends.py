"""Whether the brokers still hold what this service sent; a log that is shorter, or another, is refilled.

Brokers that lost their disks, or what was not written to them yet, say nothing of it: they answer as before.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.runtime import kafka, operator_acts, partition_alarms, refusals
from services.runtime.acts import ActCounts, ActRequest, RefillChoice, RefillScope, Rehearsal, check_second
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

_PLACE: Final = "SELECT nextval('send_order') AS place"
"""All that has a smaller number was sent before; times do not say so, for a clock goes back."""
_FIRST: Final = """
SELECT coalesce(min(place), nextval('send_order')) AS place FROM outbox_sent
WHERE topic = ANY(CAST(:topics AS text[])) AND sent_at >= :since"""
_NEWEST: Final = """
SELECT k.topic, k.part, l.topic_id, l.next
FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[])) AS k (topic, part)
CROSS JOIN LATERAL (
  SELECT topic_id, next FROM log_end WHERE topic = k.topic AND part = k.part ORDER BY place DESC LIMIT 1) l"""
_STILL_GOOD: Final = """
SELECT coalesce(max(place), 0) AS place FROM log_end
WHERE topic = :topic AND part = :part AND topic_id = :topic_id AND next <= :next"""
_ACKED: Final = "SELECT topic, part, next FROM log_ack"
_FORGET: Final = """
DELETE FROM log_ack l USING unnest(CAST(:topics AS text[]), CAST(:parts AS int[])) AS k (topic, part)
WHERE l.topic = k.topic AND l.part = k.part"""
_SAMPLE: Final = """
INSERT INTO log_end (topic, part, place, topic_id, next) VALUES (:topic, :part, :place, :topic_id, :next)"""
_MARK: Final = """
INSERT INTO refilled (topic, place) SELECT *, nextval('send_order') FROM unnest(CAST(:topics AS text[]))
ON CONFLICT (topic) DO UPDATE SET place = excluded.place"""
_ALL_MOVED: Final = "SELECT send_again('{}', NULL, 0, 0)"
"""Sends nothing again; its lock waits for relays that are moving rows."""
_REFILL: Final = """
SELECT send_again(CAST(:topics AS text[]), NULL, :first, n.place) AS count,
  nullif(n.place, :before) AS following
FROM (SELECT least(CAST(:before AS bigint), (SELECT place FROM outbox_sent
  WHERE place > :first ORDER BY place OFFSET :rows_max LIMIT 1))) AS n (place)"""
_NOT_CONFIRMED: Final = """
UPDATE sequence_out s SET confirmed = f.first - 1
FROM (SELECT topic, key, min(sequence) AS first FROM (
        SELECT * FROM outbox_sent WHERE place >= :first AND place < :before
        ORDER BY place LIMIT :rows_max + 1) page
      WHERE topic = ANY(CAST(:topics AS text[])) GROUP BY topic, key) f
WHERE s.topic = f.topic AND s.key = f.key AND s.confirmed >= f.first"""
_PLAN: Final = """
SELECT topic, count(*) AS rows FROM outbox_sent
WHERE topic = ANY(CAST(:topics AS text[])) AND place >= :first AND place < :before
GROUP BY topic ORDER BY topic"""


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


class SentStretch(BaseModel):
    """What was sent from one place on and before another: what is sent again has a higher one."""

    model_config = ConfigDict(extra="forbid")

    first: Annotated[int, Field(ge=0, lt=1 << 63)]
    before: Annotated[int, Field(ge=0, lt=1 << 63)]


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

    async def first_sent(self, topics: Sequence[str], since: datetime | None) -> int:
        """The place of the first row that was sent to these topics since then, or ever."""
        async with self._database.transaction() as transaction:
            [row] = await transaction.rows(_FIRST, topics=list(topics), since=since or EVER)
        return int(row.place)

    async def refill(self, topic: str, first: int, before: int | None = None) -> int:
        """Put what was sent to a topic, from one place to before another, back into the outbox; counts it."""
        count, now = 0, await self._mark([topic])
        before = min(before or now, now)
        at: int | None = first
        while at is not None:
            part = {"topics": [topic], "first": at, "before": before, "rows_max": ROWS_AT_ONCE}
            async with self._database.transaction() as transaction:
                [moved] = await transaction.rows(_REFILL, **part)
            count, at = count + moved.count, moved.following
            crash_point("log_ends.refilled")  # the rest is found by the next look: no sample was taken yet
        self._wake()
        return count

    async def send_page(
        self, topics: Sequence[str], left: SentStretch, rows_max: int
    ) -> tuple[int, SentStretch | None]:
        """Put back what is among so many rows of a stretch, as if it had not been confirmed either.

        Gives how many were put back, and what of the stretch is left.
        """
        async with self._database.transaction() as transaction:  # or receipts of what was lost would count
            page = {"topics": topics, "first": left.first, "before": left.before, "rows_max": rows_max}
            await transaction.run(_NOT_CONFIRMED, **page)
            [moved] = await transaction.rows(_REFILL, **page)
        self._wake()
        return moved.count, moved.following and SentStretch(first=moved.following, before=left.before)

    async def sent_since(self, topics: Sequence[str], since: datetime) -> SentStretch:
        """What was sent to these topics since then, until now."""
        first = await self.first_sent(topics, since)
        return SentStretch(first=first, before=max(first, await self._mark(topics)))

    async def _mark(self, topics: Sequence[str]) -> int:
        """Let no relay move what it claimed before now; what leaves from now on is at this place or later."""
        async with self._database.transaction() as transaction:
            await transaction.run(_MARK, topics=list(topics))
        async with self._database.transaction() as transaction:
            await transaction.run(_ALL_MOVED)
            [now] = await transaction.rows(_PLACE)
        return int(now.place)

    async def rehearse(self, chosen: RefillChoice) -> Rehearsal:
        """How many events would be sent again, by topic; nothing is changed."""
        if chosen.topic not in (None, *self._topics):
            raise refusals.NotWritten
        topics = [chosen.topic] if chosen.topic else self._topics
        first = await self.first_sent(topics, chosen.since)
        async with self._database.transaction() as transaction:
            [now] = await transaction.rows(_PLACE)
            rows = await transaction.rows(_PLAN, topics=topics, first=first, before=now.place)
        figures = {row.topic: row.rows for row in rows}
        if not figures:
            raise refusals.NothingKept
        scope = {"topics": topics, "first": first, "before": now.place}
        return Rehearsal(count=sum(figures.values()), figures=figures, scope=scope)

    async def refill_by_order(self, asked: ActRequest[RefillScope]) -> ActCounts:
        """Send again what was planned, under its old ids; what is sent once more has a place behind all that.

        So whoever lost the answer asks again, and what was not reached is sent, but nothing twice.
        """
        check_second("refill", asked)
        order, scope = asked.order, asked.scope
        if not set(scope.topics) <= set(self._topics):
            raise refusals.NotWritten
        async with self._database.transaction() as transaction:  # on record also where it breaks off
            if await operator_acts.done_before(transaction, order.plan) is None:
                planned = {"topics": len(scope.topics), "events": asked.count}
                await operator_acts.record(transaction, "refill", planned, **dict(order))
        for one in scope.topics:
            async with self._looking:
                count = await self.refill(one, scope.first, scope.before)
            log().warning(REFILLED, topic=one, count=count)
        return ActCounts(counts={"sent_again": asked.count})

    async def _look(self) -> None:
        async with self._database.transaction() as transaction:
            [now] = await transaction.rows(_PLACE)  # before the brokers are asked: what they say is no older
            acked = dict(self._producer.acked)
            for topic, part, following in await transaction.rows(_ACKED):  # before a restart, or by others
                acked[topic, part] = max(following, acked.get((topic, part), 0))
        found = await self._producer.log_ends(self._topics)
        async with self._database.transaction() as transaction:
            samples = await _newest(transaction, found)
            lost = lost_stretches(samples, found, acked)
            good_until = {one.partition: await _good_until(transaction, one, found) for one in lost}
        reasons = await self._refill_all(lost, good_until)
        async with self._database.transaction() as transaction:
            for partition, reason in reasons.items():
                await partition_alarms.raise_alarm(transaction, self._group, partition, REFILLED, reason)
            places = [one.partition for one in lost]
            await transaction.run(
                _FORGET, topics=[topic for topic, _ in places], parts=[part for _, part in places]
            )
            changed = {one: place for one, place in found.items() if samples.get(one) != place}
            await transaction.run_each(_SAMPLE, [_row(one, now.place, end) for one, end in changed.items()])
            standing = await partition_alarms.standing(transaction, self._group)
        self._standing = [alarm for _, alarm in standing if alarm.rule == REFILLED]
        for one in lost:
            self._producer.acked.pop(one.partition, None)

    async def _refill_all(
        self, lost: Sequence[LostStretch], good_until: Mapping[Partition, int]
    ) -> dict[Partition, str]:
        """Refill each topic of which something is lost, once; gives what to say of each partition."""
        by_topic: dict[str, list[LostStretch]] = {}
        for one in lost:
            by_topic.setdefault(one.partition[0], []).append(one)
        reasons = {}
        for topic, stretches in by_topic.items():
            count = await self.refill(topic, min(good_until[one.partition] for one in stretches))
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


async def _good_until(transaction: Transaction, lost: LostStretch, found: Mapping[Partition, Place]) -> int:
    """The place of the newest sample that is not above the log's end: what was sent before is there."""
    if lost.following is None:
        return 0
    topic, part = lost.partition
    topic_id: UUID = found[lost.partition][0]
    [row] = await transaction.rows(
        _STILL_GOOD, topic=topic, part=part, topic_id=topic_id, next=lost.following
    )
    return int(row.place)


def _row(partition: Partition, place: int, end: Place) -> dict[str, Any]:
    return {"topic": partition[0], "part": partition[1], "place": place, "topic_id": end[0], "next": end[1]}
