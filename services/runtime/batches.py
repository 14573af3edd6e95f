"""The durable consumer's transaction: a batch over all partitions, inbox, state, outbox, offsets as one."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from schemas.wire.cloudevents import LetterReason, PartialEvent, Unusable
from schemas.wire.envelope import ReadEvent, full_type, read
from schemas.wire.receipts import DeliveryReceipt
from schemas.wire.topic import Topic
from services.runtime import dead_letters, inbox, offsets, partition_alarms
from services.runtime.alarms import Alarm
from services.runtime.clock import SystemClock
from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.dead_letters import READY_MAX, DeadLetter, WaitingLetter
from services.runtime.errors import Invalid, Unavailable
from services.runtime.identity import Identity
from services.runtime.inbox import Turn
from services.runtime.limits import NO_LETTERS, LetterTally, counted
from services.runtime.logs import log
from services.runtime.metrics import APPLIED, COMMITS, DUPLICATES, TRANSACTION_SECONDS
from services.runtime.offsets import Partition
from services.runtime.partition_alarms import STOPPED, UNREADABLE, WRITER_OLDER
from services.runtime.receipts import Receipts
from services.runtime.records import Record
from services.runtime.subscription import Subscription
from services.runtime.transaction import Transaction

R = TypeVar("R")
OpenWork = Callable[[Transaction], Any]
Effect = tuple[Record, DeadLetter | None]
"""A record that was applied, or the letter that it became."""


class PartitionsLost(Exception):
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
        receipts: Receipts,
    ) -> None:
        self._database = database
        self._identity = identity
        self._subscriptions = subscriptions
        self._open_work = open_work
        self.receipts = receipts
        self._by_name = {
            topic.name(identity.namespace): topic
            for subscription in subscriptions
            for topic in subscription.topics
        }
        self._across_gaps = frozenset(
            kind for subscription in subscriptions for kind in subscription.acts_across_gaps
        )
        self._clock = SystemClock()
        self._tallies: dict[Partition, LetterTally] = {}
        self.expected: dict[Partition, int] = {}
        """Where each partition goes on; one that is not ours, or has stopped, is not among them."""
        self.unproven: dict[Partition, int] = {}
        """The mark of the last record of a partition that must be seen there once more before it goes on."""
        self.standing: list[tuple[Partition, Alarm]] = []
        self.topic_ids: dict[str, UUID] = {}
        self.was_overtaken = False  # by another process: this one must join the group again

    @property
    def topic_names(self) -> list[str]:
        """The names of the topics to read, on the brokers."""
        return list(self._by_name)

    @property
    def stopped(self) -> set[Partition]:
        """Partitions that wait for an operator."""
        return {partition for partition, alarm in self.standing if alarm.rule == STOPPED}

    @property
    def types(self) -> list[str]:
        """Every type of event that these topics carry, as it stands in records and, sealed, around them."""
        topics = self._by_name.values()
        return [full_type(one) for topic in topics for one in (*topic.carries, topic.outer) if one]

    @property
    def _titles(self) -> Mapping[str, str]:
        return {name: topic.title for name, topic in self._by_name.items()}

    def forget(self, partitions: Collection[Partition]) -> None:
        """Partitions that are another process's now, or go on from another place."""
        for partition in partitions:
            self.expected.pop(partition, None)
            self.unproven.pop(partition, None)
            self._tallies.pop(partition, None)

    def keeps_all(self, partition: Partition) -> bool:
        """Whether the brokers keep every record of its topic, not only the newest of each key."""
        return not self._by_name[partition[0]].compacted

    def is_other(self, partition: Partition, first: Record) -> bool:
        """Whether the log is not the one that was read: another record stands where the last one was."""
        mark = self.unproven.pop(partition, None)
        is_seen = first.mark == mark and first.offset + 1 == self.expected.get(partition)
        return mark is not None and not is_seen

    async def apply(self, records: Sequence[Record]) -> None:
        """Apply a batch; a handler's failure narrows it down to the one record that is then set aside."""
        records = still_to_do(records, self.expected)
        if not records:
            return
        try:
            await self._transact(records, None)
        except PartitionsLost as lost:
            self._follow(lost)
            await self.apply(records)
        except Unavailable:
            raise
        except Exception as error:
            if len(records) > 1:
                for half in halves(records):
                    await self.apply(half)
            else:
                await self._set_aside(records[0], error)

    async def _set_aside(self, record: Record, error: Exception) -> None:
        """Keep the record on which a handler fails; if not even that can be done, its partition stops."""
        try:
            await self._transact([record], error)
        except PartitionsLost as lost:
            self._follow(lost)
        except Unavailable:
            raise
        except Exception as another:
            log().error("record_not_set_aside", topic=record.topic, error_class=type(another).__name__)
            async with self._database.transaction() as transaction:
                await self._raise(transaction, {record.place: LetterReason.HANDLER}, STOPPED)

    async def redrive(self) -> None:
        """Apply, in order, what waited behind holes that are filled by now."""
        while True:
            async with self._database.transaction() as transaction:
                ready = await dead_letters.ready(transaction, self._identity.group, self._titles)
            if not ready:
                return
            await self._redrive(ready)
            log().info("letters_redriven", group=self._identity.group, count=len(ready))

    async def redrive_these(self, ids: Sequence[str]) -> None:
        """Run the handlers again on letters that still wait, then on what waited behind them.

        Key by key in the order of their numbers: behind one that fails again, its others wait.
        """
        for some in some_of(ids):
            if waiting := await self.waiting(some):
                await self._redrive(waiting)
        await self.redrive()

    async def waiting(self, ids: Sequence[str]) -> Sequence[WaitingLetter]:
        """Those of these letters that still wait, with their records."""
        async with self._database.transaction() as transaction:
            return await dead_letters.waiting(transaction, ids, self._titles)

    def unreadable_still(self, letters: Sequence[WaitingLetter]) -> list[str]:
        """Why letters cannot be read by now either, one code for each of those."""
        found = [self.read(one.record) for one in letters]
        return [str(one.reason) for one in found if isinstance(one, DeadLetter)]

    async def discard(self, transaction: Transaction, ids: Sequence[str]) -> int:
        """Say of letters that still wait that nobody needs them; gives how many those were."""
        found, last = await dead_letters.discard(transaction, ids, self._titles)
        transaction.after_commit.append(lambda: self.receipts.note(self._by_name.values(), last))
        return found

    async def ask_again(self, transaction: Transaction, names: Collection[str]) -> None:
        """Ask the writers of these topics, in which records were passed over, for what they sent."""
        await self.receipts.ask_again(transaction, [self._by_name[name] for name in sorted(names)])

    async def _redrive(self, ready: Sequence[WaitingLetter]) -> None:
        try:
            await self._settle(ready, None)
        except Unavailable:
            raise
        except Exception as error:
            if len(ready) == 1:
                await self._settle(ready, error)
            else:
                for half in halves(ready):
                    await self._redrive(half)

    async def _settle(self, ready: Sequence[WaitingLetter], failure: Exception | None) -> None:
        """Apply letters as if they came now; one that fails waits on, as the hole that it is."""
        async with self._database.transaction() as transaction:
            effects = await self._effects(transaction, [one.record for one in ready], failure)
            letters = {(*record.place, record.offset): letter for record, letter in effects if letter}
            await dead_letters.settle(transaction, [(one.id, letters.get(one.place)) for one in ready])
        APPLIED.labels(self._identity.group).inc(sum(letter is None for _, letter in effects))

    def _follow(self, lost: PartitionsLost) -> None:
        self.forget(lost.lost)
        self.was_overtaken = True
        log().warning("partitions_lost", group=self._identity.group, count=len(lost.lost))

    async def _transact(self, records: Sequence[Record], failure: Exception | None) -> None:
        """One transaction: what is new, its effects, its events, the offsets; all or nothing."""
        group = self._identity.group
        # From the last *processed* position, never from the first record: compacted topics have holes.
        following = {record.place: record.offset + 1 for record in records}
        marks = {record.place: record.mark for record in records}
        with TRANSACTION_SECONDS.labels(group).time():
            async with self._database.transaction() as transaction:
                crash_point("consumer.begun")
                effects = await self._effects(transaction, records, failure)
                letters = [letter for _, letter in effects if letter]
                await dead_letters.keep(transaction, group, letters, self.topic_ids)
                lost = await offsets.move(transaction, group, self.topic_ids, self.expected, following, marks)
                if lost:
                    raise PartitionsLost(lost)
                tallies = {
                    partition: counted(self._tallies.get(partition, NO_LETTERS), reasons)
                    for partition, reasons in reasons_of(effects).items()
                }
                over = await dead_letters.crowded(transaction, group, letters)
                over |= {partition: reason for partition, (_, reason) in tallies.items() if reason}
                crash_point("consumer.moved")  # rolls back whole; the same batch comes again
                # With the letter that was too many, or not at all.
                broken = unreadable(effects)
                await self._raise(transaction, broken, UNREADABLE)
                await self.ask_again(transaction, {topic for topic, _ in broken})  # it may come once more
                await self._raise(transaction, dead_letters.contradicting(letters), WRITER_OLDER)
                await self._raise(transaction, over, STOPPED)
        crash_point("consumer.committed")  # all is in the database; the brokers' own offset only informs
        going_on = following.keys() - over.keys()
        self._tallies |= {partition: tallies[partition][0] for partition in going_on & tallies.keys()}
        self.expected |= {partition: following[partition] for partition in going_on}
        COMMITS.labels(group).inc()
        APPLIED.labels(group).inc(sum(letter is None for _, letter in effects))

    async def _raise(self, transaction: Transaction, reasons: Mapping[Partition, str], rule: str) -> None:
        """Let a rule stand over partitions, also over a restart; those that it stops wait for an operator."""
        if not reasons:
            return
        for partition, reason in reasons.items():
            await partition_alarms.raise_alarm(transaction, self._identity.group, partition, rule, reason)
        standing = await partition_alarms.standing(transaction, self._identity.group)

        def hold() -> None:
            self.standing = standing
            self.forget(self.stopped)
            for (topic, part), reason in reasons.items():
                log().critical(rule, topic=topic, partition=part, error_code=str(reason))

        transaction.after_commit.append(hold)

    def read(self, record: Record) -> ReadEvent[Any] | DeadLetter:
        """What a record says, or why it can never be used."""
        return read_record(record, self._by_name[record.topic], self._identity)

    async def _effects(
        self, transaction: Transaction, records: Sequence[Record], failure: Exception | None
    ) -> list[Effect]:
        found = [self.read(record) for record in records]
        read = [one for one in found if isinstance(one, ReadEvent)]
        events = [one for one in read if not isinstance(one.body, DeliveryReceipt)]
        turns, last = await inbox.take(
            transaction, events, self._across_gaps, self._clock.now(), has_failed=failure is not None
        )
        crash_point("consumer.taken")
        effects = effects_of(records, found, turns, failure)
        fresh = [event for event, turn in zip(events, turns, strict=True) if turn.is_fresh]
        if fresh and failure is None:
            work = self._open_work(transaction)
            for subscription, own in shares(fresh, self._subscriptions):
                await subscription.handler(own, work)
            crash_point("consumer.handled")
        if failure is None and len(events) < len(read):
            await self.receipts.confirm(
                transaction, [one for one in read if isinstance(one.body, DeliveryReceipt)]
            )
        transaction.after_commit.append(lambda: self.receipts.note(self._by_name.values(), last))
        for one in (event for event, turn in zip(events, turns, strict=True) if turn is Turn.REPEATED):
            DUPLICATES.labels(self._identity.group, one.topic.name(self._identity.namespace)).inc()
        return effects


# decisions


def still_to_do(records: Sequence[Record], expected: Mapping[Partition, int]) -> Sequence[Record]:
    """Leave out what was processed before, and partitions that are not ours (any more)."""
    return [record for record in records if record.offset >= expected.get(record.place, 1 << 63)]


def halves(batch: Sequence[R]) -> tuple[Sequence[R], Sequence[R]]:
    """Cut a batch in two, in order, to find the record on which a handler fails."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def some_of(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many at a time as one transaction takes up."""
    return (ids[start : start + READY_MAX] for start in range(0, len(ids), READY_MAX))


def read_record(record: Record, topic: Topic, identity: Identity) -> ReadEvent[Any] | DeadLetter:
    """Read one record; what can never be used becomes a dead letter."""
    if record.reason:
        return DeadLetter(record, record.reason, record.stretch)
    try:
        return read(topic, record.headers, record.key, record.value, cell=identity.cell, mode=identity.mode)
    except Unusable as unusable:
        return DeadLetter(record, unusable.reason, unusable.path, known=unusable.known)


def shares(
    fresh: Sequence[ReadEvent[Any]], subscriptions: Sequence[Subscription]
) -> Iterator[tuple[Subscription, list[ReadEvent[Any]]]]:
    """Each subscription with its events, in the table's order: what is in force before what rests on it."""
    for subscription in subscriptions:
        own = [event for event in fresh if event.topic in subscription.topics]
        if own:
            yield subscription, own


def effects_of(
    records: Sequence[Record],
    found: Sequence[ReadEvent[Any] | DeadLetter],
    turns: Sequence[Turn],
    failure: Exception | None,
) -> list[Effect]:
    """What becomes of each record, repeats and receipts left out; `turns` are those of all other events.

    With a failure nothing was applied: the record on which the handler failed is a letter.
    """
    effects: list[Effect] = []
    following = iter(turns)
    for record, one in zip(records, found, strict=True):
        if isinstance(one, DeadLetter):
            effects.append((record, one))
            continue
        if isinstance(one.body, DeliveryReceipt):
            continue
        turn = next(following)
        if turn.reason:
            effects.append((record, DeadLetter(record, turn.reason, known=_known(one))))
        elif turn.is_fresh:
            effects.append((record, _failed_on(record, one, failure) if failure else None))
    return effects


def _failed_on(record: Record, event: ReadEvent[Any], failure: Exception) -> DeadLetter:
    reason, path = (
        (failure.reason, failure.path)
        if isinstance(failure, Invalid | Unusable)
        else (LetterReason.HANDLER, None)
    )
    return DeadLetter(record, reason, path, type(failure).__name__, _known(event))


def _known(event: ReadEvent[Any]) -> PartialEvent:
    return PartialEvent(event.source, event.id, event.sequence, event.type, event.dataschema)


def reasons_of(effects: Sequence[Effect]) -> dict[Partition, list[str | None]]:
    """Each partition's effects in order: the reason of a letter, None for a record that was applied."""
    found: dict[Partition, list[str | None]] = {}
    for record, letter in effects:
        found.setdefault(record.place, []).append(letter.reason if letter else None)
    return found


def unreadable(effects: Sequence[Effect]) -> dict[Partition, str]:
    """Partitions in which the brokers hold something that cannot be read, and of what kind."""
    readable = (None, LetterReason.OVERSIZE)
    return {one.place: letter.reason for one, letter in effects if letter and one.reason not in readable}
