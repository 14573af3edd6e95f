"""One service process: settings, logs, database, ports, consumer, relays, sweepers; and the way out."""

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop
from fastapi import APIRouter, FastAPI

from schemas.wire.topic import Topic
from services.runtime import act_doors, ages, kafka, neighbours
from services.runtime.alarms import AlarmSource
from services.runtime.backlog import is_outbox_full
from services.runtime.batches import Batches, OpenWork
from services.runtime.clock import Clock, SystemClock
from services.runtime.consumer import Consumer
from services.runtime.database import Database
from services.runtime.health import Health, health_app
from services.runtime.identity import Identity
from services.runtime.letter_acts import LetterActs
from services.runtime.log_ends import LOOK_SECONDS, LogEnds
from services.runtime.logs import configure, log, tell_end
from services.runtime.loop_watch import LoopWatch
from services.runtime.metrics import ALONE, POOL_IN_USE
from services.runtime.offset_reset import OffsetReset
from services.runtime.openapi import text_of
from services.runtime.operator_acts import TELL_SECONDS, OperatorActs
from services.runtime.outbox import Outbox
from services.runtime.peers import internal_client
from services.runtime.ports import WrongPorts, internal_app, servers_of
from services.runtime.receipts import SWEEP_SECONDS, Receipts, UnconfirmedEvents
from services.runtime.relay import Relay
from services.runtime.restoring import OPEN, Restoring, closed_while
from services.runtime.schema import WrongSchema, ages_of, check_schema
from services.runtime.service_report import Figures, Reporter, no_figures
from services.runtime.settings import KafkaSettings, RuntimeSettings
from services.runtime.siblings import Siblings
from services.runtime.subscription import Subscription
from services.runtime.sweeper import Sweeper
from services.runtime.worker import Worker
from services.runtime.writer_epoch import EpochUnreadable, WriterEpoch, settle

GRACE_SECONDS: Final = 12.0
"""How long a process may take to stop after SIGTERM; then the watchdog ends it."""
ROOM_SECONDS: Final = 3.0
"""How often it is looked whether the outbox has room for what is asked."""
OPEN_FILES: Final = 4_096
"""Three ports at their limits of connections, and what the process itself opens."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the runtime gives a service to build itself with."""

    identity: Identity
    database: Database
    outbox: Outbox
    clock: Clock
    siblings: Siblings


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service consists of."""

    subscriptions: Sequence[Subscription] = ()
    open_work: OpenWork = field(default=lambda transaction: transaction)
    api: FastAPI | None = None
    internal: FastAPI | None = None
    """What whoever has a certificate of this installation may ask."""
    internal_opens: Callable[[], Awaitable[None]] | None = None
    """Returns once the internal port may take requests; until then they are another process's."""
    writes: Sequence[Topic] = ()
    """The topics that it writes."""
    operators: APIRouter | None = None
    """What the operator's command alone may ask on the internal port."""
    before_serving: Callable[[], Awaitable[None]] | None = None
    """The last step after a restore, once all was read; Unavailable has it come again."""
    sweepers: Sequence[Sweeper] = ()
    why_halted: Callable[[], str | None] = lambda: None
    """Why the service's own work has stopped until a person looks, or None; it is not ready then."""
    alarms: Sequence[AlarmSource] = ()
    """What a person must look at, though the service goes on."""
    measurements: Sequence[Callable[[], None]] = ()
    """Each tells, from memory, what is known when somebody looks."""
    figures: Figures = no_figures
    """What operations is told of this service that others do not have."""
    closes: Sequence[Callable[[], Awaitable[None]]] = ()
    """Connections to close once nothing uses them any more."""


Wire = Callable[[Runtime, Any], Parts]
"""A service's wiring: runtime and settings in, parts out."""


def main(
    service: str,
    settings_class: type[RuntimeSettings],
    wire: Wire,
    api: Callable[[], FastAPI] | None = None,
) -> None:
    """`python -m services.<service> run|migrate`, and `openapi` where agencies have a port."""
    word = sys.argv[1] if len(sys.argv) == 2 else ""
    if word == "migrate":
        from services.runtime.migrate import migrate  # Alembic is long to import, and never to run

        asyncio.run(migrate(service, RuntimeSettings.from_environment().database))
    elif word == "run":
        run_to_the_end(service, settings_class, wire, logs_as=service)
    elif word == "openapi" and api:
        sys.stdout.write(text_of(api()))
    else:
        words = "run|migrate|openapi" if api else "run|migrate"
        sys.stderr.write(f"say what to do: python -m services.{service} {words}\n")
        raise SystemExit(2)


def allow_open_files() -> None:
    """Let this process have as many files as its ports may have connections, as far as the system lets it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def run_to_the_end(service: str, settings_class: type[RuntimeSettings], wire: Wire, *, logs_as: str) -> None:
    """Run one process of a service; what ends it is told without the text of any error."""
    settings = settings_class.from_environment()
    configure(logs_as if settings.process == 1 else f"{logs_as}-{settings.process}")
    allow_open_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(service, settings, wire))
    except (EpochUnreadable, WrongPorts, WrongSchema) as wrong:
        raise SystemExit(str(wrong)) from None
    except Exception as error:
        # Python's own last words would be the error's text, and a driver's text holds what it was given.
        tell_end(error)
        raise SystemExit(1) from None


async def run(service: str, settings: RuntimeSettings, wire: Wire) -> None:
    """Run a service until SIGTERM or SIGINT; any part that fails ends the process."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running(service, settings, wire):
        log().info("service_started")
        await stopping.wait()
        watchdog()
        log().info("service_stopping")
    log().info("service_stopped")


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """What a test looks at while a service runs."""

    health: Health
    consumer: Consumer | None


@dataclass(slots=True)
class DurablePath:
    """What moves events between this service's database and the brokers; nothing of it without brokers."""

    siblings: Siblings
    relays: list[Relay] = field(default_factory=list)
    watched: list[Sweeper | Consumer] = field(default_factory=list)
    alarms: list[AlarmSource] = field(default_factory=list)
    acts: list[APIRouter] = field(default_factory=list)
    closes: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    neighbours: list[APIRouter] = field(default_factory=list)
    measurements: list[Callable[[], None]] = field(default_factory=list)
    consumer: Consumer | None = None
    restoring: Restoring | None = None

    def wake(self) -> None:
        """Tell the relays that there is something to send; another process's where the shard is there."""
        self.wake_own()
        if not self.sends:
            self.siblings.tell("outbox")

    def wake_own(self, _told: Collection[str] = ()) -> None:
        """Tell the relays of this process alone."""
        for relay in self.relays:
            if relay.is_owner:  # another looks at everything once it is
                relay.wake()

    def why_closed(self) -> str | None:
        """Why nobody is served yet, or None."""
        return self.restoring.why_closed() if self.restoring else None

    async def follow(self, worker: Worker, *, is_service: bool) -> None:
        """Run a part once it may: the service's own work when it serves, what moves events sooner."""
        if self.restoring:
            await (self.restoring.may_serve if is_service else self.restoring.may_send).wait()
        await worker.run()

    @property
    def sends(self) -> bool:
        """Whether every shard's relay is here."""
        return all(relay.is_owner for relay in self.relays)

    def lay(
        self,
        runtime: Runtime,
        parts: Parts,
        settings: RuntimeSettings,
        brokers: KafkaSettings,
        producer: kafka.RelayProducer,
        epoch: WriterEpoch,
    ) -> None:
        """Relays and what looks after their events; a reader, where the service reads something."""
        identity, database, writes = runtime.identity, runtime.database, parts.writes
        names = [topic.name(identity.namespace) for topic in writes]
        lease = settings.lease_seconds
        log_ends = LogEnds(database, identity.group, names, producer, self.wake, lambda: self.sends)
        self.relays += [
            Relay(database, producer, shard=shard, gate=log_ends, lease_seconds=lease)
            for shard in range(identity.shards)
        ]
        self.siblings.hear("outbox", self.wake_own)
        self.acts.append(act_doors.sender_doors(log_ends))
        reads = [topic for subscription in parts.subscriptions for topic in subscription.topics]
        streams = neighbours.Streams(identity, reads, writes)
        self.neighbours.append(neighbours.routes(database, streams, log_ends))
        self.restoring = Restoring(database, streams, settings, epoch, parts.before_serving)
        self.neighbours.append(self.restoring.routes())
        self.alarms.append(self.restoring.alarms)

        async def look_for_room() -> bool:
            runtime.outbox.is_full = await is_outbox_full(database, settings.outbox_rows_max)
            return False

        self.watched.append(Sweeper("outbox_room", ROOM_SECONDS, look_for_room))
        retention = ages.Retention(database, ages_of(identity.service))
        self.watched.append(Sweeper("ages", ages.SWEEP_SECONDS, retention.sweep))
        if settings.trail_url and settings.tls:
            trail = internal_client(settings.tls, "audit", base_url=settings.trail_url)
            told = OperatorActs(database, identity, trail)
            self.watched.append(Sweeper("operator_acts", TELL_SECONDS, told.sweep))
            self.closes.append(trail.aclose)
        if names:
            self.watched.append(Sweeper("log_ends", LOOK_SECONDS, log_ends.sweep))
        if any(topic.leads_back for topic in writes):
            unconfirmed = UnconfirmedEvents(database, identity, writes, self.wake)
            self.watched.append(Sweeper("unconfirmed", SWEEP_SECONDS, unconfirmed.sweep))
            self.alarms.append(unconfirmed.alarms)
        if not parts.subscriptions:  # a reader tells of all that stands
            self.alarms.append(log_ends.alarms)
            return
        receipts = Receipts(identity, writes, runtime.outbox, runtime.clock)
        batches = Batches(database, identity, parts.subscriptions, parts.open_work, receipts)
        self.consumer = Consumer(
            batches,
            database,
            identity,
            brokers,
            records_max=settings.batch_records_max,
            gather_ms=settings.gather_ms,
            siblings=self.siblings,
            lease_seconds=lease,
        )
        self.watched.append(self.consumer)
        self.measurements.append(self.consumer.measure)
        reset = OffsetReset(database, identity.group, self.consumer, self.siblings)
        letters = LetterActs(database, identity.group, batches)
        self.acts.append(act_doors.letter_doors(database, identity.group, batches))
        self.acts.append(act_doors.reader_doors(letters, reset))


@asynccontextmanager
async def running(service: str, settings: RuntimeSettings, wire: Wire) -> AsyncIterator[ServiceProcess]:
    """A service that runs for as long as the block; leaving drains it in order."""
    namespace = settings.kafka.namespace if settings.kafka else ""
    identity = Identity(
        service, settings.cell, settings.mode, namespace, settings.outbox_shards, settings.process
    )
    lease = settings.lease_seconds
    database = Database(settings.database, application=identity.part, lease_seconds=lease)
    # Of its own: requests that hold every other connection must not make the service look dead.
    probed = Database(settings.database, application=f"{identity.part}-health", pool=1)
    clock = SystemClock()
    producer = kafka.RelayProducer(settings.kafka, clock) if settings.kafka else None
    siblings = Siblings(database, identity.process, lease)
    durable = DurablePath(siblings)
    try:
        await check_schema(database, service)
        epoch = await settle(database, settings.epoch_file) if settings.kafka else WriterEpoch()
        runtime = Runtime(identity, database, Outbox(identity, durable.wake), clock, siblings)
        parts = wire(runtime, settings)
        if settings.kafka and producer:
            durable.lay(runtime, parts, settings, settings.kafka, producer, epoch)
        watched = [*parts.sweepers, *durable.watched]
        alarms = [*parts.alarms, *durable.alarms, *(one.alarms for one in watched)]
        health = Health(
            probed,
            identity.part,
            outbox_rows_max=settings.outbox_rows_max if durable.relays else None,
            why_halted=lambda: durable.why_closed() or parts.why_halted(),
            alarms=alarms,
            measurements=[
                *parts.measurements,
                *durable.measurements,
                lambda: POOL_IN_USE.tell({ALONE: database.in_use}),
            ],
        )
        reporter = Reporter(
            database,
            identity,
            figures=parts.figures,
            routines=[one for one in watched if isinstance(one, Sweeper | Consumer)],
            alarms=alarms,
            outbox_rows_max=settings.outbox_rows_max if durable.relays else None,
            tls=settings.tls,
        )
        operators = [parts.operators] if parts.operators else []
        acts = [*durable.acts, *([reporter.routes()] if settings.tls else [])]
        internal = internal_app(parts.internal, operators, identity, durable.neighbours, acts)
        servers = servers_of(
            settings.ports,
            health=health_app(health),
            api=parts.api and closed_while(parts.api, durable.why_closed),
            internal=internal and closed_while(internal, durable.why_closed, OPEN),
            tls=settings.tls,
            internal_opens=parts.internal_opens,
        )
        workers: list[Worker] = [LoopWatch(), *watched, *durable.relays]
        workers += [siblings] if settings.kafka else []
        async with asyncio.TaskGroup() as group:
            # HTTP answers at once, Kafka joins when it can.
            tasks = [group.create_task(server.serve(sockets)) for server, sockets in servers]
            tasks += [
                group.create_task(durable.follow(worker, is_service=worker in parts.sweepers))
                for worker in workers
            ]
            if durable.restoring:
                workers.append(durable.restoring)
                tasks.append(group.create_task(durable.restoring.run()))
            try:
                yield ServiceProcess(health, durable.consumer)
            finally:
                health.draining = True
                for server, _ in servers:
                    server.end()
                for worker in workers:
                    worker.stop()
                await asyncio.wait(tasks)
                for close in (*parts.closes, *durable.closes):
                    await close()
                await health.close()
                if producer:
                    await producer.close()
    finally:
        await probed.close()
        await database.close()


def watchdog(seconds: float = GRACE_SECONDS) -> None:
    """End the process hard if stopping hangs: what is not committed comes again."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
