"""Brokers, databases and clocks in memory, which delay, repeat, lose and kill as one seed says."""

import random
import zlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from aiokafka.errors import KafkaError

from schemas.wire.envelope import HEADERS
from services.runtime.errors import Unavailable
from services.runtime.kafka import RelayProducer
from services.runtime.offsets import Partition, Place
from services.runtime.records import Record
from tests.simulation.statements import STATEMENTS, Found, Tables
from tests.support.clock import NOON

PARTITIONS: Final = 2
T = TypeVar("T")


class Killed(BaseException):
    """A process ended here, without a word."""


class Violation(BaseException):
    """A promise was broken; no handler's failure, which the reader would set aside."""


class UnknownStatement(BaseException):
    """The durable path runs a statement that `statements.py` does not know."""


class World:
    """What all processes share, and the chance that something happens to it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = NOON
        self.is_healing = False
        self.told: list[str] = []
        """What happened, for a seed that fails."""
        self.logs: dict[str, Log] = {}

    def happens(self, probability: float) -> bool:
        """Whether a fault of this probability happens now; while everything heals, none does."""
        return not self.is_healing and self.chance.random() < probability

    def effect(self) -> None:
        """A place where a process may be killed, or find its database away."""
        if self.happens(0.004):
            raise Killed
        if self.happens(0.003):
            raise Unavailable("away")

    def log(self, topic: str) -> "Log":
        """A topic's log; made when it is first asked for."""
        return self.logs.setdefault(topic, Log(self.new_uuid()))

    def new_uuid(self) -> UUID:
        """Kafka's own id of a topic."""
        return UUID(int=self.chance.getrandbits(128))

    def damage(self) -> None:
        """A topic is made anew and empty, a tail is lost that no disk had yet, or old records go unread."""
        topic, part = self.chance.choice(sorted(self.logs)), self.chance.randrange(PARTITIONS)
        log, kind = self.logs[topic], self.chance.choice(("anew", "tail", "retention"))
        self.told.append(f"damage: {kind} of {topic}/{part}")
        if kind == "anew":
            self.logs[topic] = Log(self.new_uuid())
        elif kind == "tail":
            kept = self.chance.randint(log.beginnings[part], log.end(part))
            del log.parts[part][kept:]
        else:
            log.beginnings[part] = self.chance.randint(log.beginnings[part], log.end(part))


class Log:
    """One topic on the brokers."""

    def __init__(self, topic_id: UUID) -> None:
        self.topic_id = topic_id
        self.parts: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTITIONS)]
        self.beginnings = [0] * PARTITIONS

    def end(self, part: int) -> int:
        """The next offset."""
        return len(self.parts[part])

    def records(self, topic: str, part: int, at: int, most: int) -> list[Record]:
        """Records from an offset on."""
        found = enumerate(self.parts[part][at : at + most], at)
        return [Record(topic, part, offset, 0, key, value, HEADERS) for offset, (key, value) in found]


class Statements:
    """One connection: each statement takes effect by itself, unless a transaction is around it."""

    def __init__(self, database: "FakeDatabase") -> None:
        self._database = database
        self.after_commit: list[Any] = []

    async def rows(self, sql: str, **parameters: Any) -> Found:
        """Do what the statement does."""
        if sql not in STATEMENTS:
            raise UnknownStatement(sql.strip())
        self._database.world.effect()
        return STATEMENTS[sql](self._database.tables, self._database.now(), parameters)

    run = rows

    async def run_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Do it once for each row."""
        for row in rows:
            await self.rows(sql, **row)


class Machine:
    """Its clock, which somebody may set."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ahead = timedelta()

    def now(self) -> datetime:
        """The time, as far as this machine knows it."""
        return self.world.now + self.ahead


class FakeDatabase(Machine):
    """One service's database, on a machine of its own; an answer to a commit may be lost."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tables = Tables()

    @asynccontextmanager
    async def transaction(self, **_: Any) -> AsyncIterator[Statements]:
        """All or nothing."""
        before = self.tables.copy()
        try:
            transaction = Statements(self)
            yield transaction
            self.world.effect()
        except BaseException:
            self.tables.put_back(before)
            raise
        self.world.effect()  # committed, and nobody heard
        for wake in transaction.after_commit:
            wake()


class FakeProducer(RelayProducer):
    """The relay's producer, up to the wire; records may arrive though an error is all that is heard."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.acked = {}
        self._shortened = {}

    async def __call__(self, rows: Sequence[Any]) -> dict[Partition, int]:
        held: dict[Partition, int] = {}
        for row in rows:
            log, part = self._world.log(row.topic), zlib.crc32(row.key) % PARTITIONS
            self._world.effect()
            offset = log.end(part)
            log.parts[part].append((row.key, row.value))
            if self._world.happens(0.01):
                raise KafkaError
            self._acked((row.topic, part), offset, 1)
            held[row.topic, part] = offset + 1
        return held

    async def log_ends(self, topics: Sequence[str]) -> dict[Partition, Place]:
        if self._world.happens(0.03):
            raise Unavailable("brokers are away")
        shortened, self._shortened = self._shortened, {}
        logs = {topic: self._world.log(topic) for topic in topics}
        return {
            (topic, part): (log.topic_id, min(log.end(part), shortened.get((topic, part), log.end(part))))
            for topic, log in logs.items()
            for part in range(PARTITIONS)
        }


def done(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end what waits for nothing real."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise RuntimeError("something waited")
