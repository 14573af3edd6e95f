"""The arbiter and two sectors over the fake world: production's readers, relays, inbox and receipts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from schemas.events.facts import FactBase, StepRefused
from schemas.events.life_cycle import Circumstances, Verb, allowed_steps
from schemas.topics import INBOX, STEPS, written_by
from schemas.wire.envelope import ReadEvent
from services.referrals.domain.addressing import Pair
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Outcome, Referral
from services.referrals.handlers import Work, expire_and_remind
from services.referrals.store import ReferralStore
from services.referrals.subscriptions import SUBSCRIPTIONS
from services.runtime.batches import Batches
from services.runtime.consumer import Consumer
from services.runtime.errors import Unavailable
from services.runtime.identity import Identity
from services.runtime.log_ends import LogEnds
from services.runtime.offsets import Partition, PartitionLog
from services.runtime.outbox import Outbox
from services.runtime.receipts import Receipts, UnconfirmedEvents
from services.runtime.records import Record
from services.runtime.relay import relay
from services.runtime.subscription import OutboxEvent, Subscription
from tests.simulation.world import (
    PARTITIONS,
    FakeDatabase,
    FakeProducer,
    Machine,
    Statements,
    Violation,
    World,
)
from tests.support.builders import OWNER, RECEIVER, SECTOR_OF, a_step, an_offer, in_force
from tests.support.governance import KEYS
from tests.support.platform import CELL

ARBITER: Final = "referrals"
READ_BY: Final = {ARBITER: [STEPS[SECTOR_OF[agency]] for agency in (OWNER, RECEIVER)]} | {
    SECTOR_OF[agency]: [INBOX[SECTOR_OF[agency]]] for agency in (OWNER, RECEIVER)
}
IN_FORCE: Final = in_force()


class Service:
    """What of a service outlives its processes, and what its handlers do."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.database: Any = FakeDatabase(world)
        self.identity = Identity(name, CELL)
        self.outbox = Outbox(self.identity)
        self.writes = [topic for topic in written_by(name) if topic.leads_back in _TITLES]
        if name == ARBITER:
            [steps] = [one for one in SUBSCRIPTIONS if one.acts_across_gaps]
            self.subscription = replace(steps, handler=self._checked(steps))
        else:
            kept = Subscription(tuple(READ_BY[name]), handler=_keep_facts)
            self.subscription = replace(kept, handler=self._checked(kept))

    @property
    def partitions(self) -> list[Partition]:
        """All that its processes share."""
        return [
            (topic.name(), part) for topic in READ_BY[self.identity.service] for part in range(PARTITIONS)
        ]

    def _checked(self, subscription: Subscription) -> Any:
        async def handle(events: Sequence[ReadEvent[Any]], work: Work) -> None:
            effects = self.database.tables.effects
            for event in events:
                stream = (event.topic.name(), event.key)
                effects[*stream, event.sequence] = effects.get((*stream, event.sequence), 0) + 1
                if effects[*stream, event.sequence] > 1:
                    raise Violation(f"{event.body.type} took effect twice")
                is_first = event.sequence == 1 or (*stream, event.sequence - 1) in effects
                if not is_first and event.body.type not in subscription.acts_across_gaps:
                    raise Violation(f"{event.body.type} took effect before what comes first")
            if self.world.happens(0.01):
                raise ValueError("a handler's fault")
            await subscription.handler(events, work)

        return handle


_TITLES: Final = {topic.title for topics in READ_BY.values() for topic in topics}


class FakeStore(ReferralStore):
    """The arbiter's referrals in memory; which facts are told, and under which numbers, is production's."""

    def __init__(self, transaction: Any, outbox: Outbox, database: FakeDatabase) -> None:
        super().__init__(transaction, outbox, {})
        self.own = database.tables.own

    async def load(self, ids: Collection[str]) -> dict[str, Referral | None]:
        return {referral: self.own.get(referral) for referral in ids}

    async def due(self, at: datetime, most: int) -> list[Referral]:
        kept = [one for one in self.own.values() if isinstance(one, Referral)]
        return [one for one in kept if one.due_at and one.due_at <= at][:most]

    async def in_force(self, *_: Any) -> InForce:
        return IN_FORCE

    async def _keep(self, changed: Mapping[str, Referral]) -> None:
        self.own.update(changed)

    async def _last(self, counts: Mapping[Pair, int]) -> dict[Pair, int]:
        for pair, count in counts.items():
            self.own[pair] = self.own.get(pair, 0) + count
        return {pair: self.own[pair] for pair in counts}

    async def save(self, outcomes: Sequence[Outcome], in_force: InForce) -> None:
        await super().save(outcomes, in_force)


async def _keep_facts(facts: Sequence[ReadEvent[Any]], work: Any) -> None:
    """A sector's view of its referrals: the last fact of each, numbered without a gap."""
    view = work.store.own
    for event in facts:
        fact: FactBase = event.body
        number, state = view.get(fact.referral, (0, None))
        if fact.number != number + 1:
            raise Violation(f"{fact.type} has number {fact.number} behind {number}")
        view[fact.referral] = (number + 1, state if isinstance(fact, StepRefused) else fact.state)


class Process(Machine):
    """One process, on a machine of its own: all of it is gone once it is killed."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.world)
        self.service = service
        database, identity, writes = service.database, service.identity, service.writes
        self.producer = FakeProducer(self.world)
        names = [topic.name() for topic in writes]
        self.log_ends = LogEnds(database, identity.group, names, self.producer, lambda: None)
        self.unconfirmed = UnconfirmedEvents(database, identity, writes, lambda: None)
        self.receipts = Receipts(identity, writes, service.outbox, self)
        self.batches = Batches(database, identity, [service.subscription], self.open_work, self.receipts)
        self.batches._clock = self  # type: ignore[assignment]
        self.client = FakeClient()
        self.consumer = FakeConsumer(self.batches, service, self.client)

    def open_work(self, transaction: Any) -> Work:
        """What its handlers may touch."""
        return Work(FakeStore(transaction, self.service.outbox, self.service.database), self, KEYS)

    async def assign(self, partitions: Sequence[Partition]) -> None:
        """Take over partitions, as after a rebalance."""
        self.batches.forget(list(self.batches.expected))
        self.client.assigned = set(partitions)
        await self.consumer._find_places(set(partitions))

    async def send(self, most: int = 500) -> int:
        """The relay's turn."""
        try:
            await self.log_ends.ready()
            statements: Any = Statements(self.service.database)
            return await relay(statements, self.producer, shard=0, rows_max=most)
        except KafkaError:
            self.log_ends.suspect()
            return 0

    async def consume(self, most: int = 500) -> int:
        """The reader's turn: some records of some partitions."""
        self.consumer.most = most
        fetched = await self.consumer._fetch()
        records = [record for one in sorted(fetched) for record in fetched[one]]
        try:
            await self.batches.apply(records)
        except Unavailable:  # production tries the same again
            self.consumer._seek_back()
        await self.consumer._go_on(self.consumer._consumer.assignment())
        return len(records)

    async def look(self) -> None:
        """What the reader does every few seconds."""
        await self.batches.redrive()
        await self.receipts.tell(self.service.database)

    async def sweep(self) -> None:
        """What is looked for at intervals."""
        await self.unconfirmed.sweep()
        await self.log_ends.sweep()
        if self.service.identity.service == ARBITER:
            async with self.service.database.transaction() as transaction:
                await expire_and_remind(self.open_work(transaction))


class FakeClient:
    """The brokers' client of one reader."""

    def __init__(self) -> None:
        self.assigned: set[Partition] = set()
        self.positions: dict[Partition, int] = {}

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from there."""
        self.positions[partition[0], partition[1]] = offset

    def assignment(self) -> set[Partition]:
        """The partitions that this process takes for its own."""
        return self.assigned

    def resume(self, *_: Partition) -> None:
        """Nothing is fetched ahead here."""

    pause = resume


class FakeConsumer(Consumer):
    """Production's reader, which asks the fake brokers where their logs begin and end."""

    def __init__(self, batches: Batches, service: Service, client: FakeClient) -> None:
        no_settings: Any = None
        super().__init__(batches, service.database, service.identity, no_settings, records_max=500)
        self._world = service.world
        self._consumer = client
        self.most = 500

    async def _next_in_turn(self) -> dict[Any, list[Record]]:
        """What a client has fetched; where a partition cannot be read on, it says so."""
        world, client, fetched = self._world, self._consumer, {}
        for one in sorted((client.assigned & client.positions.keys()) - self._batches.stopped):
            log, at = world.log(one[0]), client.positions[one]
            if not log.beginnings[one[1]] <= at <= log.end(one[1]):
                raise OffsetOutOfRangeError({one: at})
            is_slow = not world.is_healing and world.chance.random() < 0.3
            if not is_slow and (found := log.records(one[0], one[1], at, self.most)):
                fetched[one], client.positions[one] = found, at + len(found)
        return fetched

    async def _logs(self, assigned: set[Partition]) -> dict[Partition, PartitionLog]:
        if self._world.happens(0.02):
            raise Unavailable("brokers are away")
        logs = {topic: self._world.log(topic) for topic, _ in sorted(assigned)}
        self._batches.topic_ids |= {topic: log.topic_id for topic, log in logs.items()}
        return {
            one: PartitionLog(log.topic_id, log.beginnings[one[1]], log.end(one[1]))
            for one in sorted(assigned)
            if (log := logs[one[0]])
        }


class Party:
    """An agency: it asks for what its view allows, sometimes for what it does not."""

    def __init__(self, service: Service, agency: str) -> None:
        self.service, self.agency = service, agency
        self.role: Any = "owner" if agency == OWNER else "receiver"
        self.answered: list[tuple[str, str]] = []
        """Referral and verb of each step that was answered 202."""

    async def ask(self, referral: str, at: datetime) -> str:
        """Write one step of this time; it is answered once it is committed."""
        chance = self.service.world.chance
        _, state = self.service.database.tables.own.get(referral, (0, None))
        now = Circumstances(
            state=state, feedback_allowed=True, is_feedback_late=False, is_withdrawn=False,
            is_narrowed=False, is_erased=False,
        )  # fmt: skip
        verbs = [Verb(verb) for verb in allowed_steps(self.role, now) if verb in _ASKED]
        verb = str(
            chance.choice(verbs) if verbs and chance.random() < 0.8 else chance.choice(_ANY[self.role])
        )
        step = an_offer(referral) if verb == "offer" else a_step(verb, self.agency, referral)
        topic = STEPS[SECTOR_OF[self.agency]]
        async with self.service.database.transaction() as transaction:
            await self.service.outbox.add(transaction, [OutboxEvent(topic, step, at)])
        self.answered.append((referral, verb))
        return verb


_ANY: Final = {"owner": ("offer", "offer", "withdraw", "cancel"), "receiver": ("accept", "start", "decline")}
_ASKED: Final = {"acknowledge", "accept", "decline", "start", "provide", "not_provide", "unable_to_reach",
                 "give_feedback", "close", "close_unmet", "cancel", "withdraw", "confirm_sealed"}  # fmt: skip
