"""One service process: settings, logs, database, ports, consumer, relays, sweepers; and the way out."""

import asyncio
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from uvicorn import Config, Server

from services.runtime import kafka, partition_alarms
from services.runtime.alarms import AlarmSource
from services.runtime.batches import Batches, OpenWork
from services.runtime.clock import Clock, SystemClock
from services.runtime.connections import HANDSHAKE_SECONDS
from services.runtime.consumer import Consumer
from services.runtime.database import Database
from services.runtime.health import HEARTBEAT_SECONDS, Health, health_app
from services.runtime.identity import Identity, identity_of
from services.runtime.logs import configure, log, tell_end
from services.runtime.migrate import WrongSchema, check_schema, migrate_from_environment
from services.runtime.openapi import text_of
from services.runtime.outbox import Outbox
from services.runtime.peers import internal_config, operator_alone, plain_config
from services.runtime.relay import Relay
from services.runtime.requests import DRAINING
from services.runtime.settings import RuntimeSettings
from services.runtime.subscription import Subscription
from services.runtime.sweeper import Sweeper
from services.runtime.web import caller_of, create_app

GRACE_SECONDS: Final = 12.0
"""How long a process may take to stop after SIGTERM; then the watchdog ends it."""
OPEN_FILES: Final = 4_096
"""Three ports at their limits of connections, and what the process itself opens."""


class WrongPorts(Exception):
    """Ports that would be bound and served by nobody, or served to whoever comes."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the runtime gives a service to build itself with."""

    identity: Identity
    database: Database
    outbox: Outbox
    clock: Clock


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service consists of."""

    subscriptions: Sequence[Subscription] = ()
    open_work: OpenWork = field(default=lambda transaction: transaction)
    api: FastAPI | None = None
    internal: FastAPI | None = None
    """What whoever has a certificate of this installation may ask."""
    operators: APIRouter | None = None
    """What the operator alone may ask on the internal port, beside the readers' alarms."""
    sweepers: Sequence[Sweeper] = ()
    why_halted: Callable[[], str | None] = lambda: None
    """Why the service's own work has stopped until a person looks, or None; it is not ready then."""
    alarms: Sequence[AlarmSource] = ()
    """What a person must look at, though the service goes on."""
    closes: Sequence[Callable[[], Awaitable[None]]] = ()
    """Connections to close once nothing uses them any more."""


Wire = Callable[[Runtime, Any], Parts]
"""A service's wiring: runtime and settings in, parts out."""


class QuietServer(Server):
    """uvicorn without signals of its own, for the process has one way out, and with quick handshakes."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._draining = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Any:
        """Leave signals to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets given; uvicorn alone would wait a minute for each handshake."""
        config, state, shared = self.config, self.server_state, {DRAINING: self._draining}

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(config=config, server_state=state, app_state=shared)  # type: ignore[call-arg]

        seconds = HANDSHAKE_SECONDS if config.ssl else None
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                protocol, sock=one, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=seconds
            )
            for one in sockets or ()
        ]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let who waits for news have its answer, then end; what takes longer than the grace is told so."""
        self._draining.set()
        await super().shutdown(sockets)


def main(
    service: str,
    settings_class: type[RuntimeSettings],
    wire: Wire,
    api: Callable[[], FastAPI] | None = None,
) -> None:
    """`python -m services.<service> run|migrate`, and `openapi` where agencies have a port."""
    word = sys.argv[1] if len(sys.argv) == 2 else ""
    if word == "migrate":
        asyncio.run(migrate_from_environment(service))
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
    configure(logs_as)
    allow_open_files()
    try:
        asyncio.run(run(service, settings, wire))
    except (WrongPorts, WrongSchema) as wrong:
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


@asynccontextmanager
async def running(service: str, settings: RuntimeSettings, wire: Wire) -> AsyncIterator["Running"]:
    """A service that runs for as long as the block; leaving drains it in order."""
    identity = identity_of(service, settings)
    database = Database.connect(settings.database, application=service)
    # Of its own: requests that hold every other connection must not make the service look dead.
    probed = Database.connect(settings.database, application=f"{service}-health", pool=1)
    clock = SystemClock()
    try:
        await check_schema(database, service)
        producer = kafka.RelayProducer(settings.kafka, clock) if settings.kafka else None
        relays = (
            [Relay(database, producer, shard=shard) for shard in range(identity.shards)] if producer else []
        )

        def wake() -> None:
            for relay in relays:
                relay.wake()

        outbox = Outbox(identity, wake)
        parts = wire(Runtime(identity, database, outbox, clock), settings)
        running = Running(settings, identity, database, parts, relays, producer, probed)
        async with asyncio.TaskGroup() as group:
            running.start(group)
            try:
                yield running
            finally:
                await running.drain()
    finally:
        await probed.close()
        await database.close()


class Running:
    """The tasks of one service, and the order in which they stop."""

    def __init__(
        self,
        settings: RuntimeSettings,
        identity: Identity,
        database: Database,
        parts: Parts,
        relays: Sequence[Relay],
        producer: kafka.RelayProducer | None,
        probed: Database,
    ) -> None:
        self._parts = parts
        self._relays = relays
        self._producer = producer
        self.consumer = _consumer(settings, identity, database, parts)
        self.health = Health(
            probed,
            has_outbox=bool(relays),
            outbox_rows_max=settings.outbox_rows_max,
            why_halted=parts.why_halted,
            alarms=[*parts.alarms, *(each.alarms for each in (*parts.sweepers, self.consumer) if each)],
        )
        operators = [parts.operators] if parts.operators else []
        if self.consumer:
            operators.append(partition_alarms.routes(database, identity.group))
        internal = _internal_app(parts.internal, operators, identity)
        self._servers = _servers(settings, parts.api, internal, self.health)
        self._tasks: list[asyncio.Task[None]] = []
        self._beating: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start everything; HTTP answers at once, Kafka joins when it can."""
        self._beating = group.create_task(self._beat())
        for server, sockets in self._servers:
            self._tasks.append(group.create_task(server.serve(sockets)))
        for relay in self._relays:
            self._tasks.append(group.create_task(relay.run()))
        if self.consumer:
            self._tasks.append(group.create_task(self.consumer.run()))
        self._tasks += [group.create_task(sweeper.run()) for sweeper in self._parts.sweepers]

    async def drain(self) -> None:
        """Close the ports, finish what is in hand, stop reading, then sending."""
        self.health.draining = True
        for server, _ in self._servers:
            server.should_exit = True
        for sweeper in self._parts.sweepers:
            sweeper.stop()
        if self.consumer:
            self.consumer.stop()
        for relay in self._relays:
            relay.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for close in self._parts.closes:
            await close()
        await self.health.close()
        if self._producer:
            await self._producer.close()
        if self._beating:
            self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            self.health.beat()
            await asyncio.sleep(HEARTBEAT_SECONDS)


def watchdog(seconds: float = GRACE_SECONDS) -> None:
    """End the process hard if stopping hangs: what is not committed comes again."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def inherited_sockets() -> dict[str, int]:
    """Sockets that whoever started this process bound for it: `CONCERT_SOCKETS=api=7,health=9`."""
    named = os.environ.get("CONCERT_SOCKETS", "")
    pairs = (pair.partition("=") for pair in named.split(",") if pair)
    return {name: int(number) for name, _, number in pairs}


def _internal_app(app: FastAPI | None, operators: Sequence[APIRouter], identity: Identity) -> FastAPI | None:
    """The internal port's application, if there is anything to ask it."""
    if not operators:
        return app
    app = app or create_app(identity.service, caller_of)
    for router in operators:
        app.include_router(router, dependencies=[Depends(operator_alone(identity.operator))])
    return app


def _servers(
    settings: RuntimeSettings, api: FastAPI | None, internal: FastAPI | None, health: Health
) -> list[tuple[Server, list[socket.socket]]]:
    configs: dict[str, Config] = {"health": plain_config(health_app(health))}
    if api:
        configs["api"] = plain_config(api)
    if internal:
        if settings.tls is None:
            raise WrongPorts("the internal port needs a certificate; set CONCERT_TLS__… for this process")
        configs["internal"] = internal_config(internal, settings.tls)
    sockets = inherited_sockets()
    if unserved := sorted(sockets.keys() - configs.keys()):
        raise WrongPorts(f"nobody serves {', '.join(unserved)} here; take it out of CONCERT_SOCKETS")
    return [
        (QuietServer(config), [_socket_of(sockets.get(name), getattr(settings.ports, name))])
        for name, config in configs.items()
    ]


def _socket_of(inherited: int | None, port: int) -> socket.socket:
    if inherited is not None:
        return socket.socket(fileno=inherited)
    bound = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # else asyncio leaves Nagle on
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _consumer(
    settings: RuntimeSettings, identity: Identity, database: Database, parts: Parts
) -> Consumer | None:
    if not parts.subscriptions or not settings.kafka:
        return None
    batches = Batches(database, identity, parts.subscriptions, parts.open_work)
    connect = kafka.consumer_factory(settings.kafka, identity, batches.topic_names)
    topic_ids = kafka.topic_ids_reader(settings.kafka)
    return Consumer(batches, database, identity, connect, topic_ids, records_max=settings.batch_records_max)
