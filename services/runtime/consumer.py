"""The durable consumer: a batch over all partitions is one transaction: inbox, state, outbox, offsets."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from schemas.envelope import ReadEvent
from services.runtime import dead_letters, inbox, offsets
from services.runtime.backoff import Backoff
from services.runtime.batch import failed_on, halves, known, moves_of, opened, shares, still_to_do
from services.runtime.crash import crash_point
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetter
from services.runtime.errors import Unavailable
from services.runtime.identity import Identity
from services.runtime.logs import log
from services.runtime.metrics import APPLIED, COMMITS, DUPLICATES, LAST_COMMIT, TRANSACTION_SECONDS
from services.runtime.offsets import Log, Partition
from services.runtime.subscription import Subscription

POLL_MS: Final = 200
HANDLER_FAILURES_IN_A_ROW_MAX: Final = 50
"""After so many records in a row on which a handler failed it is a bug, and nothing more is set aside."""

OpenWork = Callable[[Transaction], Any]


class Fenced(Exception):
    """Another process has moved some of these partitions: it owns them now."""

    def __init__(self, lost: set[Partition]) -> None:
        super().__init__(f"{len(lost)} partitions have another owner")
        self.lost = lost


class Batches:
    """Applies batches of records to the database; knows Kafka's records, not its connections."""

    def __init__(
        self,
        database: Database,
        identity: Identity,
        subscriptions: Sequence[Subscription],
        open_work: OpenWork,
    ) -> None:
        self._database = database
        self._identity = identity
        self._subscriptions = subscriptions
        self._open_work = open_work
        self._by_name = {
            topic.name(identity.namespace): (topic, subscription)
            for subscription in subscriptions
            for topic in subscription.topics
        }
        self._across_gaps = frozenset(
            kind for subscription in subscriptions for kind in subscription.acts_across_gaps
        )
        self._failures_in_a_row = 0
        self.expected: dict[Partition, int] = {}
        self.topic_ids: dict[str, UUID] = {}

    @property
    def topic_names(self) -> list[str]:
        """The names of the topics to read, on the brokers."""
        return list(self._by_name)

    async def apply(self, records: Sequence[Any]) -> None:
        """Apply a batch; a handler's failure narrows it down to the one record that is then set aside."""
        records = still_to_do(records, self.expected)
        if not records:
            return
        try:
            await self._transact(records, None)
            self._failures_in_a_row = 0
        except Fenced as fenced:
            for partition in fenced.lost:
                self.expected.pop(partition, None)
            log().warning("partitions_lost", group=self._identity.group, count=len(fenced.lost))
            await self.apply(records)
        except Unavailable:
            raise
        except Exception as error:
            if len(records) > 1:
                for half in halves(records):
                    await self.apply(half)
            else:
                await self._set_aside(records[0], error)

    async def _set_aside(self, record: Any, error: Exception) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row > HANDLER_FAILURES_IN_A_ROW_MAX:
            log().critical(
                "handler_fails_always", group=self._identity.group, error_class=type(error).__name__
            )
            raise Unavailable("the handler fails on every record; nothing more is set aside") from error
        log().error("record_set_aside", topic=record.topic, error_class=type(error).__name__)
        await self._transact([record], error)

    async def _transact(self, records: Sequence[Any], failure: Exception | None) -> None:
        """One transaction: what is new, its effects, its events, the offsets; all or nothing."""
        group = self._identity.group
        moves = moves_of(records, self.expected, self.topic_ids)
        with TRANSACTION_SECONDS.labels(group).time():
            async with self._database.transaction() as transaction:
                crash_point("consumer.begun")
                handled = await self._effects(transaction, records, failure)
                lost = await offsets.move(transaction, group, moves)
                if lost:
                    raise Fenced(lost)
                crash_point("consumer.moved")  # rolls back whole; the same batch comes again
        crash_point("consumer.committed")  # all is in the database; the brokers' own offset only informs
        self.expected |= {partition: step.next for partition, step in moves.items()}
        COMMITS.labels(group).inc()
        APPLIED.labels(group).inc(handled)
        LAST_COMMIT.labels(group).set_to_current_time()

    async def _effects(
        self, transaction: Transaction, records: Sequence[Any], failure: Exception | None
    ) -> int:
        read_records = [opened(record, *self._by_name[record.topic], self._identity) for record in records]
        by_event = {id(one.event): one for one in read_records if one.event}
        taken = await inbox.take(
            transaction, [one.event for one in read_records if one.event], self._across_gaps
        )
        crash_point("consumer.taken")
        letters = [one.letter for one in read_records if one.letter]
        letters += [
            DeadLetter(by_event[id(event)].record, reason, known=known(event))
            for event, reason in taken.unusable
        ]
        fresh = taken.fresh
        if failure is not None:
            letters += [failed_on(by_event[id(event)].record, event, failure) for event in fresh]
            fresh = []
        await dead_letters.keep(transaction, self._identity.group, letters, self.topic_ids)
        await self._handle(transaction, fresh)
        DUPLICATES.labels(self._identity.group).inc(taken.duplicates)
        return len(fresh)

    async def _handle(self, transaction: Transaction, fresh: Sequence[ReadEvent]) -> None:
        """Give each subscription its events."""
        if not fresh:
            return
        work = self._open_work(transaction)
        for subscription, own in shares(fresh, self._subscriptions):
            await subscription.handler(own, work)
        crash_point("consumer.handled")


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """The loop around `Batches`: fetch, apply, tell the brokers; assignment reads the database's offsets."""

    def __init__(
        self,
        batches: Batches,
        database: Database,
        identity: Identity,
        connect: Callable[[], AIOKafkaConsumer],
        topic_ids: Callable[[Sequence[str]], Mapping[str, UUID]],
        *,
        records_max: int,
    ) -> None:
        self._batches = batches
        self._database = database
        self._identity = identity
        self._connect = connect
        self._topic_ids = topic_ids
        self._records_max = records_max
        self._stopping = asyncio.Event()
        self._applying = asyncio.Lock()
        self._placings = 0
        self._failed: Exception | None = None
        self._consumer: Any = None
        self.assigned = asyncio.Event()

    def stop(self) -> None:
        """Finish the batch in hand, then leave."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until stopped; brokers away mean connecting anew, for as long as it takes."""
        backoff = Backoff()
        while not self._stopping.is_set():
            self._failed = None
            self._consumer = self._connect()
            try:
                self._consumer.subscribe(self._batches.topic_names, listener=self)
                await self._consumer.start()
                await self._consume(backoff)
            except (KafkaError, OSError, TimeoutError, Unavailable) as error:
                log().warning("consumer_waits", error_class=type(error).__name__, group=self._identity.group)
                await self._pause(backoff.next())
            finally:
                await self._consumer.stop()  # a failed start needs it too

    async def _consume(self, backoff: Backoff) -> None:
        while not self._stopping.is_set():
            fetched = await self._fetch()
            records = [record for partition in sorted(fetched) for record in fetched[partition]]
            if not records:
                continue
            crash_point("consumer.fetched")
            await self._apply(records, backoff)
            await self._tell()
            await self._go_on({(one.topic, one.partition) for one in self._consumer.assignment()})

    async def _fetch(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """What comes next after what was processed.

        Partitions whose places are found while `getmany` waits may come from where the brokers thought that
        this group was. Applying those would skip what lies before them, without a word.
        """
        placings = self._placings
        fetched: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
            timeout_ms=POLL_MS, max_records=self._records_max
        )
        if self._failed:
            raise self._failed
        if self._placings == placings and not self._applying.locked():
            return fetched
        self._seek_back()
        return {}

    def _seek_back(self) -> None:
        """Fetch again from what was processed; partitions that have no place yet get one later."""
        for one in self._consumer.assignment():
            place = self._batches.expected.get((one.topic, one.partition))
            if place is not None:
                self._consumer.seek(one, place)

    async def _apply(self, records: Sequence[Any], backoff: Backoff) -> None:
        """Apply the batch, again and again while the database is away; never skip it."""
        while not self._stopping.is_set():
            try:
                async with self._applying:
                    await asyncio.shield(self._batches.apply(records))
                backoff.reset()
                return
            except Unavailable as error:
                log().warning("batch_waits", error_class=type(error.__cause__ or error).__name__)
                await self._wait_fetching(backoff.next())

    async def _wait_fetching(self, seconds: float) -> None:
        """Wait, paused, but keep calling `getmany`: without it the reader loses its place in the group."""
        until = asyncio.get_running_loop().time() + seconds
        try:
            while asyncio.get_running_loop().time() < until and not self._stopping.is_set():
                self._consumer.pause(*self._consumer.assignment())
                if await self._consumer.getmany(timeout_ms=min(POLL_MS, int(seconds * 1000) + 1)):
                    self._seek_back()  # of partitions that came meanwhile, and were not paused
        finally:
            self._consumer.resume(*self._consumer.assignment())

    async def _tell(self) -> None:
        """Commit to the brokers for the tools that show lag; a failure is no error."""
        positions = {
            TopicPartition(*partition): following
            for partition, following in self._batches.expected.items()
            if TopicPartition(*partition) in self._consumer.assignment()
        }
        try:
            if positions:
                await self._consumer.commit(positions)
        except KafkaError as error:
            log().info("brokers_not_told", error_class=type(error).__name__)
        crash_point("consumer.told")

    async def on_partitions_revoked(self, _revoked: Any) -> None:
        """Let the batch in hand finish before another process takes over."""
        async with self._applying:
            self._batches.expected.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Go on where the database says; aiokafka swallows what is raised here, so the loop raises it."""
        try:
            await self._go_on({(one.topic, one.partition) for one in assigned})
            self.assigned.set()
        except Exception as error:
            self._failed = (
                error
                if isinstance(error, KafkaError | OSError | Unavailable)
                else Unavailable(str(type(error)))
            )
            self._failed.__cause__ = error

    async def _go_on(self, assigned: set[Partition]) -> None:
        """Find the place of partitions that are new to us, or that another process has moved meanwhile."""
        async with self._applying:
            strange = assigned - self._batches.expected.keys()
            if strange:
                await self._find_places(strange)

    async def _find_places(self, assigned: set[Partition]) -> None:
        logs = await self._logs(assigned)
        async with self._database.transaction() as transaction:
            stored = await offsets.remembered(transaction, self._identity.group, sorted(assigned))
            positions = {
                partition: offsets.position(stored.get(partition), logs[partition]) for partition in assigned
            }
            await offsets.place(transaction, self._identity.group, positions, logs)
        for partition, found in positions.items():
            if found.alarm:
                log().error(found.alarm, topic=partition[0], partition=partition[1])
            self._consumer.seek(TopicPartition(*partition), found.next)
        self._placings += 1
        self._batches.expected |= {partition: found.next for partition, found in positions.items()}

    async def _logs(self, assigned: set[Partition]) -> dict[Partition, Log]:
        names = sorted({topic for topic, _ in assigned})
        self._batches.topic_ids |= await asyncio.to_thread(self._topic_ids, names)
        partitions = [TopicPartition(*partition) for partition in assigned]
        beginnings = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        return {
            (one.topic, one.partition): Log(self._batches.topic_ids[one.topic], beginnings[one], ends[one])
            for one in partitions
        }

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
