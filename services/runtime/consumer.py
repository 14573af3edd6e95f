"""The loop around batches: fetch, apply, tell the brokers; the database says where each partition goes on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from services.runtime import kafka, offsets, partition_alarms
from services.runtime.alarms import Alarm
from services.runtime.batches import Batches
from services.runtime.clock import SteadyClock
from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.identity import Identity
from services.runtime.logs import log
from services.runtime.metrics import (
    ASSIGNED,
    BATCH_EVENTS,
    BATCH_SECONDS,
    CONSUMED,
    REBALANCES,
)
from services.runtime.offsets import Partition, PartitionLog
from services.runtime.progress import ReaderProgress
from services.runtime.settings import KafkaSettings
from services.runtime.siblings import Siblings
from services.runtime.worker import Backoff, Worker

POLL_MS: Final = 2_000
LOOK_SECONDS: Final = 4.0
"""How often the reader tells the brokers how far it is, and looks where the logs end."""
LOOK_WITHIN_SECONDS: Final = 5.0
NUMBER_SECONDS: Final = 0.1


class Consumer(Worker, ConsumerRebalanceListener):  # type: ignore[misc]
    """The loop around `Batches`: fetch, apply, tell the brokers; assignment reads the database's offsets."""

    name: Final = "reader"

    def __init__(
        self,
        batches: Batches,
        database: Database,
        identity: Identity,
        settings: KafkaSettings,
        *,
        records_max: int,
        gather_ms: int = 0,
        siblings: Siblings | None = None,
        lease_seconds: float = kafka.SESSION_MS / 1000,
    ) -> None:
        super().__init__()
        self._siblings = siblings
        self._lease_seconds = lease_seconds
        self._batches = batches
        self._database = database
        self._identity = identity
        self._settings = settings
        self._records_max = records_max
        self._gather_ms = gather_ms
        self._applying = asyncio.Lock()
        self._placings = 0
        self._had_turn: set[TopicPartition] = set()
        self._failed: Exception | None = None
        self._consumer: Any = None
        self._polling: asyncio.Task[Mapping[TopicPartition, Sequence[Any]]] | None = None
        self._clock = SteadyClock()
        self._progress = ReaderProgress(identity.group, self._clock.now())
        self._look_at = 0.0
        self._is_untold = False
        self.assigned = asyncio.Event()

    def stop(self) -> None:
        """Finish the batch in hand, then leave; a wait for records ends at once."""
        super().stop()
        self._end_poll()

    def alarms(self) -> list[Alarm]:
        """What stands over this reader's partitions, and what does not get on; from memory."""
        standing = [alarm for _, alarm in self._batches.standing]
        return [*standing, *self._progress.alarms(self._clock.now())]

    def measure(self) -> None:
        """Which partitions are here; from memory."""
        counts = Counter(one.topic for one in self._consumer.assignment()) if self._consumer else Counter()
        ASSIGNED.tell({(self._identity.group, topic): counts[topic] for topic in self._batches.topic_names})

    def success_age(self) -> float:
        """How many seconds ago it last saw brokers and database."""
        return self._progress.look_age(self._clock.now())

    async def run(self) -> None:
        """Consume until stopped; brokers away mean connecting anew, for as long as it takes."""
        backoff = Backoff()
        while not self.is_stopping:
            self._failed = None
            if not await self._has_number():
                return
            names = self._batches.topic_names
            self._consumer = kafka.new_consumer(
                self._settings, self._identity, names, self._gather_ms, self._lease_seconds
            )
            try:
                self._consumer.subscribe(names, listener=self)
                await self._consumer.start()
                await self._consume(backoff)
            except (KafkaError, OSError, TimeoutError, Unavailable) as error:
                log().warning("consumer_waits", error_class=type(error).__name__, group=self._identity.group)
                await self.pause(backoff.next())
            finally:
                await self._consumer.stop()  # a failed start needs it too

    @asynccontextmanager
    async def held(self, partition: Partition) -> AsyncIterator[None]:
        """Apply no batch for as long as the block, then read on where the database says."""
        async with self._applying:
            yield
            self._batches.forget([partition])
        self._end_poll()

    async def log_since(self, partition: Partition, since: datetime) -> tuple[PartitionLog, int]:
        """A partition that is read here as the brokers hold it, and its first offset since then."""
        one, at = TopicPartition(*partition), int(since.timestamp() * 1000)
        if self._consumer is None or one not in self._consumer.assignment():
            raise Unavailable("no reader here has that partition now")
        try:
            async with asyncio.timeout(LOOK_WITHIN_SECONDS):
                logs = await self._logs({partition})
                found = (await self._consumer.offsets_for_times({one: at}))[one]
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable("the brokers do not answer") from error
        return logs[partition], found.offset if found else logs[partition].end

    @property
    def _owns_number(self) -> bool:
        return self._siblings is None or self._siblings.owns_number

    async def _has_number(self) -> bool:
        """Wait until no other process has this one's number; False where it is to stop before."""
        while not (self._owns_number or self.is_stopping):
            self.clear()
            await self.pause(NUMBER_SECONDS)
        return not self.is_stopping

    def _check_place(self) -> None:
        """Who was overtaken reads no further before the brokers have given it partitions anew."""
        if self._batches.was_overtaken or not self._owns_number:
            self._batches.was_overtaken = False
            self._batches.forget(list(self._batches.expected))
            raise Unavailable("another process reads what this one read")

    async def _consume(self, backoff: Backoff) -> None:
        while not self.is_stopping:
            self._check_place()
            fetched = await self._fetch()
            records = [record for partition in sorted(fetched) for record in fetched[partition]]
            if records:
                crash_point("consumer.fetched")
                with BATCH_SECONDS.labels(self._identity.group).time():
                    await self._apply(records, backoff)
                self._count(records)
                self._is_untold = True
            await self._look()
            await self._go_on(self._consumer.assignment())
        await self._tell()
        await self._batches.receipts.tell(self._database)

    def _count(self, records: Sequence[Any]) -> None:
        group, counts = self._identity.group, Counter(record.topic for record in records)
        BATCH_EVENTS.labels(group).observe(len(records))
        for topic, count in counts.items():
            CONSUMED.labels(group, topic).inc(count)

    async def _fetch(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """What comes next after what was processed.

        Partitions whose places are found while `getmany` waits may come from where the brokers thought that
        this group was. Applying those would skip what lies before them, without a word.
        """
        placings = self._placings
        try:
            fetched = await self._next_in_turn()
        except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
            # aiokafka would go elsewhere without a word; the place is found anew, and a jump is told.
            (about,) = error.args  # a mapping by partition, or the partition itself
            self._batches.forget(list(about) if isinstance(about, Mapping) else [about])
            return {}
        if self._failed:
            raise self._failed
        if self._placings == placings and not self._applying.locked():
            others = {one for one in fetched if self._batches.is_other(one, fetched[one][0])}
            if not others:
                return fetched
            async with self._applying:
                await self._find_places(others, are_other=True)
        self._seek_back()
        return {}

    async def _next_in_turn(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """Each partition once before any a second time.

        `getmany` alone empties the first fetch that it holds, and a megabyte of small repeats is a third of a
        million records: one sector's partition would hold up all others for minutes.
        """
        fetched: Mapping[TopicPartition, Sequence[Any]] = {}
        if others := self._consumer.assignment() - self._had_turn:
            fetched = await self._consumer.getmany(*others, timeout_ms=0, max_records=self._records_max)
        if not fetched:
            self._had_turn.clear()
            fetched = await self._poll()
        self._had_turn |= set(fetched)
        return fetched

    async def _poll(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """Wait for records, for the order to stop, or for other places to read from."""
        self._polling = asyncio.create_task(
            self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._records_max)
        )
        try:
            return await self._polling
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return {}
        finally:
            self._polling = None

    def _end_poll(self) -> None:
        if self._polling:
            self._polling.cancel()

    async def _look(self) -> None:
        """Every few seconds: how far we are, where the logs end, which alarms an operator has ended."""
        assigned = self._consumer.assignment()
        is_time = asyncio.get_running_loop().time() >= self._look_at
        if not (is_time or self._batches.receipts.are_many):
            return
        self._look_at = asyncio.get_running_loop().time() + LOOK_SECONDS
        await self._tell()
        try:
            async with self._applying:
                await asyncio.shield(self._batches.redrive())
            await self._batches.receipts.tell(self._database)
            async with asyncio.timeout(LOOK_WITHIN_SECONDS):
                ends = await self._consumer.end_offsets(assigned) if assigned else {}
                async with self._database.transaction() as transaction:
                    self._batches.standing = await partition_alarms.standing(
                        transaction, self._identity.group
                    )
        except (KafkaError, OSError, TimeoutError, Unavailable) as error:
            log().info("reader_cannot_look", error_class=type(error).__name__, group=self._identity.group)
            return
        self._progress.look(self._batches.expected, ends, self._clock.now())

    def _seek_back(self) -> None:
        """Fetch again from what was processed; partitions that have no place yet get one later."""
        for one in self._consumer.assignment():
            if one in self._batches.expected:
                self._consumer.seek(one, self._batches.expected[one] - (one in self._batches.unproven))

    async def _apply(self, records: Sequence[Any], backoff: Backoff) -> None:
        """Apply the batch, again and again while the database is away; never skip it."""
        while not self.is_stopping:
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
            while asyncio.get_running_loop().time() < until and not self.is_stopping:
                self._consumer.pause(*self._consumer.assignment())
                if await self._consumer.getmany(timeout_ms=min(POLL_MS, int(seconds * 1000) + 1)):
                    self._seek_back()  # of partitions that came meanwhile, and were not paused
        finally:
            self._hold_stopped()

    def _hold_stopped(self) -> None:
        """Fetch of all partitions but those that have stopped."""
        stopped = self._batches.stopped
        for one in self._consumer.assignment():
            (self._consumer.pause if one in stopped else self._consumer.resume)(one)

    async def _tell(self) -> None:
        """Commit to the brokers for the tools that show lag; a failure is no error."""
        if not self._is_untold:
            return
        self._is_untold = False
        expected = self._batches.expected
        positions = {one: expected[one] for one in self._consumer.assignment() if one in expected}
        try:
            if positions:
                async with asyncio.timeout(LOOK_WITHIN_SECONDS):  # aiokafka would ask for ever
                    await self._consumer.commit(positions)
        except (KafkaError, TimeoutError) as error:
            log().info("brokers_not_told", error_class=type(error).__name__)
        crash_point("consumer.told")

    async def on_partitions_revoked(self, _revoked: Any) -> None:
        """Let the batch in hand finish before another process takes over."""
        async with self._applying:
            self._batches.forget(list(self._batches.expected))

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Go on where the database says; aiokafka swallows what is raised here, so the loop raises it."""
        try:
            async with self._applying:
                # All of them: to aiokafka a partition that was ours before has no place either.
                await self._find_places(set(assigned))
            REBALANCES.labels(self._identity.group).inc()
            self.assigned.set()
        except Exception as error:
            is_expected = isinstance(error, KafkaError | OSError | Unavailable)
            self._failed = error if is_expected else Unavailable(type(error).__name__)
            self._failed.__cause__ = error

    async def _go_on(self, assigned: set[Partition]) -> None:
        """Find the place of partitions that another process has moved, or that go on after they stopped."""
        async with self._applying:
            self._hold_stopped()
            strange = assigned - self._batches.expected.keys() - self._batches.stopped
            if strange:
                await self._find_places(strange)

    async def _find_places(self, assigned: set[Partition], *, are_other: bool = False) -> None:
        """Read on where the database says, from one record before: it must be the one that was read.

        A log that lost records and was refilled before this reader came is as long as it was, or longer.
        """
        group = self._identity.group
        logs = await self._logs(assigned)
        async with self._database.transaction() as transaction:
            stored, marks = await offsets.stored_places(transaction, group, sorted(assigned))
            starts = {
                one: offsets.start_of(stored.get(one), logs[one], is_other=are_other) for one in assigned
            }
            jumps = {one: start for one, start in starts.items() if start.alarm or one not in stored}
            places = {one: (logs[one].topic_id, start.next) for one, start in jumps.items()}
            await offsets.place(transaction, group, places)
            await self._batches.ask_again(
                transaction, {topic for (topic, _), at in jumps.items() if at.alarm}
            )
            for one, start in jumps.items():
                if start.alarm:  # with the new place, or not at all: no reader jumps without an alarm
                    await partition_alarms.raise_alarm(transaction, group, one, start.alarm, start.reason)
            self._batches.standing = await partition_alarms.standing(transaction, group)
        for one, start in starts.items():
            if start.alarm:
                log().error(start.alarm, topic=one[0], partition=one[1])
            if one in marks and logs[one].beginning < start.next and self._batches.keeps_all(one):
                self._batches.unproven[one] = marks[one]
            self._consumer.seek(TopicPartition(*one), start.next - (one in self._batches.unproven))
        self._placings += 1
        self._end_poll()
        self._hold_stopped()
        stopped = self._batches.stopped
        self._batches.expected |= {one: start.next for one, start in starts.items() if one not in stopped}

    async def _logs(self, assigned: set[Partition]) -> dict[Partition, PartitionLog]:
        names = sorted({topic for topic, _ in assigned})
        self._batches.topic_ids |= await asyncio.to_thread(kafka.topic_ids, self._settings, names)
        partitions = [TopicPartition(*partition) for partition in assigned]
        beginnings = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        ids = self._batches.topic_ids
        return {one: PartitionLog(ids[one.topic], beginnings[one], ends[one]) for one in partitions}
