"""The durable consumer's transaction: a batch over all partitions, inbox, state, outbox, offsets as one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from schemas.wire.envelope import ReadEvent, Reason
from services.runtime import dead_letters, inbox, offsets, partition_alarms
from services.runtime.batch import (
    Effects,
    failed_on,
    halves,
    known,
    moves_of,
    outcomes,
    read_record,
    shares,
    still_to_do,
    unreadable,
)
from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.dead_letters import DeadLetter
from services.runtime.errors import Unavailable
from services.runtime.identity import Identity
from services.runtime.limits import NO_LETTERS, LetterTally, counted
from services.runtime.logs import log
from services.runtime.metrics import APPLIED, COMMITS, DUPLICATES, LAST_COMMIT, TRANSACTION_SECONDS
from services.runtime.offsets import Partition
from services.runtime.partition_alarms import STOPPED, UNREADABLE, PartitionAlarm
from services.runtime.subscription import Subscription
from services.runtime.transaction import Transaction

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
            topic.name(identity.namespace): topic
            for subscription in subscriptions
            for topic in subscription.topics
        }
        self._across_gaps = frozenset(
            kind for subscription in subscriptions for kind in subscription.acts_across_gaps
        )
        self._tallies: dict[Partition, LetterTally] = {}
        self.expected: dict[Partition, int] = {}
        """Where each partition goes on; one that is not ours, or has stopped, is not among them."""
        self.standing: list[PartitionAlarm] = []
        self.topic_ids: dict[str, UUID] = {}

    @property
    def topic_names(self) -> list[str]:
        """The names of the topics to read, on the brokers."""
        return list(self._by_name)

    @property
    def stopped(self) -> set[Partition]:
        """Partitions that wait for an operator."""
        return {alarm.partition for alarm in self.standing if alarm.rule == STOPPED}

    def forget(self, partitions: Collection[Partition]) -> None:
        """Partitions that are another process's now, or go on from another place."""
        for partition in partitions:
            self.expected.pop(partition, None)
            self._tallies.pop(partition, None)

    async def apply(self, records: Sequence[Any]) -> None:
        """Apply a batch; a handler's failure narrows it down to the one record that is then set aside."""
        records = still_to_do(records, self.expected)
        if not records:
            return
        try:
            await self._transact(records, None)
        except Fenced as fenced:
            self._follow(fenced)
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
        """Keep the record on which a handler fails; if not even that can be done, its partition stops."""
        try:
            await self._transact([record], error)
        except Fenced as fenced:
            self._follow(fenced)
        except Unavailable:
            raise
        except Exception as another:
            log().error("record_not_set_aside", topic=record.topic, error_class=type(another).__name__)
            async with self._database.transaction() as transaction:
                place = (record.topic, record.partition)
                await self._raise(transaction, {place: Reason.HANDLER}, STOPPED)

    def _follow(self, fenced: Fenced) -> None:
        self.forget(fenced.lost)
        log().warning("partitions_lost", group=self._identity.group, count=len(fenced.lost))

    async def _transact(self, records: Sequence[Any], failure: Exception | None) -> None:
        """One transaction: what is new, its effects, its events, the offsets; all or nothing."""
        group = self._identity.group
        moves = moves_of(records, self.expected, self.topic_ids)
        with TRANSACTION_SECONDS.labels(group).time():
            async with self._database.transaction() as transaction:
                crash_point("consumer.begun")
                effects = await self._effects(transaction, records, failure)
                lost = await offsets.move(transaction, group, moves)
                if lost:
                    raise Fenced(lost)
                tallies = {
                    partition: counted(self._tallies.get(partition, NO_LETTERS), reasons)
                    for partition, reasons in outcomes(records, effects).items()
                }
                over = {partition: reason for partition, (_, reason) in tallies.items() if reason}
                crash_point("consumer.moved")  # rolls back whole; the same batch comes again
                # With the letter that was too many, or not at all.
                await self._raise(transaction, unreadable(effects), UNREADABLE)
                await self._raise(transaction, over, STOPPED)
        crash_point("consumer.committed")  # all is in the database; the brokers' own offset only informs
        going_on = moves.keys() - over.keys()
        self._tallies |= {partition: tallies[partition][0] for partition in going_on & tallies.keys()}
        self.expected |= {partition: moves[partition].next for partition in going_on}
        COMMITS.labels(group).inc()
        APPLIED.labels(group).inc(len(effects.applied))
        LAST_COMMIT.labels(group).set_to_current_time()

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

    async def _effects(
        self, transaction: Transaction, records: Sequence[Any], failure: Exception | None
    ) -> Effects:
        events: list[ReadEvent] = []
        letters: list[DeadLetter] = []
        record_of: dict[int, Any] = {}
        for record in records:
            found = read_record(record, self._by_name[record.topic], self._identity)
            if isinstance(found, DeadLetter):
                letters.append(found)
            else:
                events.append(found)
                record_of[id(found)] = record
        taken = await inbox.take(transaction, events, self._across_gaps)
        crash_point("consumer.taken")
        letters += [
            DeadLetter(record_of[id(event)], reason, known=known(event)) for event, reason in taken.unusable
        ]
        fresh = taken.fresh
        if failure is not None:
            letters += [failed_on(record_of[id(event)], event, failure) for event in fresh]
            fresh = []
        letters = dead_letters.one_for_each_record(letters)
        await dead_letters.keep(transaction, self._identity.group, letters, self.topic_ids)
        await self._handle(transaction, fresh)
        DUPLICATES.labels(self._identity.group).inc(taken.duplicates)
        return Effects([record_of[id(event)] for event in fresh], letters)

    async def _handle(self, transaction: Transaction, fresh: Sequence[ReadEvent]) -> None:
        """Give each subscription its events."""
        if not fresh:
            return
        work = self._open_work(transaction)
        for subscription, own in shares(fresh, self._subscriptions):
            await subscription.handler(own, work)
        crash_point("consumer.handled")
