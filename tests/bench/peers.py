"""The arbiter's work with FastStream and with faust-streaming, each as its documentation shows it.

One transaction a message over asyncpg (inbox row, state row locked and kept) by the arbiter's own rules,
three events out by its own codec, SCRAM, acks of all brokers; an offset is committed behind what was done.
They are spared numbers, stored offsets and the outbox: a crash between commit and send loses their events.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import faust
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.security import SASLScram512
from faust.contrib.asgi import faust_app_running

from schemas.events.life_cycle import State
from schemas.topics import INBOX, REFERRALS_FACTS, STEPS
from schemas.wire import envelope
from schemas.wire.topic import Topic, source_of
from services.referrals.domain.addressing import address_facts, count_numbers, numbers_from
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Referral
from services.referrals.domain.steps import decide
from services.runtime.clock import SystemClock
from services.runtime.ids import new_id
from services.runtime.settings import KafkaSettings
from services.runtime.subscription import OutboxEvent
from tests.support.builders import OWNER, RECEIVER, a_protocol_current, an_agency, an_entry, in_force
from tests.support.platform import CELL

NOW: Final = datetime.now(UTC)
DAY: Final = timedelta(days=1)
TOPIC: Final = STEPS["health"]
"""Both agencies are of one sector here: the steps of a referral share a topic and keep their order."""
AGENCIES: Final = (an_agency(OWNER, sector="health"), an_agency(RECEIVER))
PROTOCOL: Final = a_protocol_current(valid_from=NOW - DAY, valid_until=NOW + DAY)
ENTRY: Final = an_entry(confirmed_at=NOW - DAY)
COLUMNS: Final = tuple(field.name for field in fields(Referral))
TAKE: Final = "INSERT INTO inbox (source, id, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id"
LOAD: Final = f"SELECT {', '.join(COLUMNS)} FROM referral WHERE id = $1 FOR UPDATE"
KEEP: Final = (
    f"INSERT INTO referral ({', '.join(COLUMNS)}, due_at) "
    f"VALUES ({', '.join(f'${place}' for place in range(1, len(COLUMNS) + 2))}) "
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, version = excluded.version, "
    "due_at = excluded.due_at"
)
Sent = tuple[str, bytes, bytes]
"""Topic, key and value of one event out."""


@dataclass(slots=True)
class Course:
    """One run of a peer: the work of a message, and when the first began and the last ended."""

    pool: Any
    topic: Topic
    cell: str
    namespace: str
    in_force: InForce
    steps: int
    ended: asyncio.Event
    began_at: float = 0.0
    ended_at: float = 0.0
    done: int = 0
    failure: Exception | None = None

    async def decide(self, key: bytes, value: bytes) -> Sequence[Sent]:
        """One message in one transaction; gives the events that are to be sent. A failure ends the course."""
        try:
            return await self._decide(key, value)
        except Exception as error:
            self.failure = error
            self.ended.set()
            raise

    async def _decide(self, key: bytes, value: bytes) -> Sequence[Sent]:
        self.began_at = self.began_at or time.perf_counter()
        event: Any = envelope.read(self.topic, envelope.HEADERS, key, value, cell=self.cell, mode="test")
        async with self.pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(TAKE, event.source, event.id, event.digest):
                return ()
            row = await connection.fetchrow(LOAD, event.key)
            known = Referral(**dict(row) | {"state": State(row["state"])}) if row else None
            outcome = decide(known, event, self.in_force, at=SystemClock().now())
            assert outcome.referral
            assert not outcome.refusal
            kept = outcome.referral
            await connection.execute(KEEP, *(getattr(kept, name) for name in (*COLUMNS, "due_at")))
        counts = count_numbers([outcome])
        numbers = numbers_from(counts, dict.fromkeys(counts, kept.version))
        return [self._write(one) for one in address_facts([outcome], numbers, self.in_force)]

    def finished(self) -> None:
        """The events of one message are with the brokers."""
        self.done += 1
        if self.done == self.steps:
            self.ended_at = time.perf_counter()
            self.ended.set()

    def _write(self, one: OutboxEvent) -> Sent:
        fact: Any = one.body
        value = envelope.write(
            one.topic, fact, id=new_id("event"), source=source_of(self.cell, "referrals"),
            sequence=fact.number or 1, at=one.at, caused_by=one.caused_by,
        )  # fmt: skip
        return one.topic.name(self.namespace), fact.referral.encode(), value


async def with_faststream(course: Course, settings: KafkaSettings, group: str) -> None:
    """A subscriber that publishes; its offset is committed behind each message."""
    login = SASLScram512(username=settings.user, password=settings.password_file.read_text().strip())
    broker = KafkaBroker(settings.bootstrap, security=login, acks="all", logger=None)

    async def on_step(message: KafkaMessage) -> None:
        raw = message.raw_message
        for topic, key, value in await course.decide(raw.key, raw.value):
            await broker.publish(value, topic, key=key)
        course.finished()

    broker.subscriber(
        course.topic.name(course.namespace),
        group_id=group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_as_it_came,
    )(on_step)
    async with broker:
        await broker.start()
        await course.ended.wait()


async def _as_it_came(message: Any) -> Any:
    """What is read once, by the contract, need not be parsed by the framework too."""
    return message.body


async def with_faust(course: Course, settings: KafkaSettings, group: str) -> None:
    """An agent that sends; its offset is committed behind what it has handled."""
    password = settings.password_file.read_text().strip()
    app = faust.App(
        group,
        broker=f"kafka://{settings.bootstrap}",
        broker_credentials=faust.SASLCredentials(
            username=settings.user, password=password, mechanism="SCRAM-SHA-512"
        ),
        value_serializer="raw",
        key_serializer="raw",
        producer_acks=-1,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    names = [topic.name(course.namespace) for topic in (*INBOX.values(), REFERRALS_FACTS)]
    topics = {name: app.topic(name, value_serializer="raw", key_serializer="raw") for name in names}

    async def on_steps(stream: Any) -> None:
        async for event in stream.events():
            sent = [
                await topics[topic].send(key=key, value=value)
                for topic, key, value in await course.decide(event.message.key, event.value)
            ]
            for one in sent:
                await one
            course.finished()

    steps = app.topic(course.topic.name(course.namespace), value_serializer="raw", key_serializer="raw")
    app.agent(steps)(on_steps)
    async with faust_app_running(app):
        await app.wait(course.ended)  # or until it crashes


Peer = Callable[[Course, KafkaSettings, str], Awaitable[None]]
PEERS: Final[dict[str, Peer]] = {"FastStream": with_faststream, "faust": with_faust}


async def measure(peer: str, dsn: str, kafka: KafkaSettings, steps: int) -> tuple[float, float]:
    """Seconds from the first message until the last event is acknowledged, and those of CPU."""
    known = in_force(agencies=AGENCIES, entries=[ENTRY], protocols=[PROTOCOL.document])
    async with asyncpg.create_pool(dsn, min_size=4, max_size=4) as pool:
        course = Course(pool, TOPIC, CELL, kafka.namespace, known, steps, asyncio.Event())
        before = time.process_time()
        await PEERS[peer](course, kafka, f"{kafka.namespace}referrals")
    if course.failure:
        raise course.failure
    return course.ended_at - course.began_at, time.process_time() - before


if __name__ == "__main__":  # a process for each: faust does not start where FastStream has run
    asked = json.loads(sys.stdin.read())
    settings = KafkaSettings.model_validate(asked["kafka"])
    print(json.dumps(asyncio.run(measure(sys.argv[1], asked["dsn"], settings, asked["steps"]))))
