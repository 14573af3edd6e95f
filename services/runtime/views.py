"""A view: tables that faust fills from one topic, in a process of its own; losing them costs a replay.

The record is PostgreSQL's. What goes wrong here ends the process before the event is acknowledged, so that it
comes again: an exception that left faust's loop would acknowledge it.
"""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiokafka
import faust
import uvloop
from aiokafka import AIOKafkaConsumer
from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response
from faust.contrib.asgi import faust_app_running
from faust.exceptions import ConsumerNotStarted
from faust.tables.manager import TableManager
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from schemas.wire.cloudevents import Unusable
from schemas.wire.envelope import ReadEvent, read
from schemas.wire.topic import ViewTopics
from services.runtime import kafka
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock, SystemClock
from services.runtime.crash import crash_point
from services.runtime.health import NotReady
from services.runtime.logs import configure, log, tell_end
from services.runtime.loop_watch import LoopWatch
from services.runtime.metrics import ALARMS, BUILD
from services.runtime.ports import servers_of
from services.runtime.problems import refusal
from services.runtime.process import watchdog
from services.runtime.records import bound_fetching
from services.runtime.settings import KafkaSettings, PortSettings, ProcessSettings, secret_from
from services.runtime.version import version
from services.runtime.view_figures import VIEW_APPLIED, VIEW_SKIPPED, tell_sensed
from services.runtime.web import caller_of, create_app

FAILED: Final = 70
"""How the process ends when a view fails: its supervisor starts it again, and the event comes again."""
STOPPED_WITHIN_SECONDS: Final = 6.0
FETCH_WAIT_MS: Final = 200
"""How long the brokers hold a fetch while nothing comes. One that asks for the tables alone stands before the
first one for events, and faust's own 1.5 s were most of a second of each start; an idle view asks five times
a second for it."""

Tables = Mapping[str, MutableMapping[str, Any]]
"""A view's tables by name. A key is written by events of one partition alone: its changes are kept there."""
Place = tuple[int, int]
"""Partition and offset of an event."""


@dataclass(frozen=True, slots=True)
class View:
    """What a view makes of each event, which may come twice, and what it shows."""

    topics: ViewTopics
    apply: Callable[[ReadEvent[Any], Place, Tables], None]
    show: Callable[[Tables, datetime], Mapping[str, Any]]


class ViewConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer whose fetches are held for as long as we say; faust has no setting for it."""

    def __init__(self, *topics: str, **chosen: Any) -> None:
        super().__init__(*topics, **chosen | {"fetch_max_wait_ms": FETCH_WAIT_MS})


class ViewTables(TableManager):  # type: ignore[misc]
    """Tables that are all known before faust starts, so that it need not wait a second for more of them."""

    async def on_start(self) -> None:
        """Begin to read them back; what faust does here after its wait."""
        await self._update_channels()
        await self.recovery.start()


class ViewSettings(ProcessSettings):
    """What an operator chooses for a view."""

    kafka: KafkaSettings
    ports: PortSettings = PortSettings()
    hold_file: Path
    """Whoever resets the view holds a lock on this file; a start waits for it."""


def run_view(view: View) -> None:
    """Run a view to the end; what ends it is told without the text of any error."""
    settings = ViewSettings.from_environment()
    configure(view.topics.user)
    wait_until_free(settings.hold_file)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_view(view, settings))
    except Exception as error:
        tell_end(error)
        raise SystemExit(FAILED) from None


def wait_until_free(hold: Path) -> None:
    """Wait while somebody empties the tables and moves the group back."""
    with hold.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)


async def serve_view(view: View, settings: ViewSettings) -> None:
    """Fill the tables and show them until SIGTERM or SIGINT; raises if faust gives up."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    app, tables = faust_app(view, settings)
    shown = view_app(view, app, tables, SystemClock())
    [(server, sockets)] = servers_of(settings.ports, health=shown)
    loop_watch = LoopWatch()
    async with asyncio.TaskGroup() as group:
        group.create_task(loop_watch.run())
        group.create_task(server.serve(sockets))
        try:
            async with faust_app_running(app, stop_timeout=STOPPED_WITHIN_SECONDS):
                await app.wait(stopping)  # or until it crashes
                watchdog()
        finally:
            server.end()
            loop_watch.stop()
    if app.crash_reason:
        raise app.crash_reason


def view_app(view: View, app: Any, tables: Tables, clock: Clock) -> FastAPI:
    """What the view shows to whoever is on this machine: probes, figures and its tables; codes and counts."""
    shown = create_app(view.topics.user, caller_of)
    recovers: list[Alarm] = []

    @shown.get("/livez")
    @shown.get("/startupz")
    async def livez() -> Response:
        """The loop turns, or nobody would answer."""
        return Response("ok")

    @shown.get("/readyz")
    async def readyz() -> Response:
        """Whether the tables are as far as the topic; until then they are read back from the brokers."""
        if is_current(app):
            recovers.clear()
            return JSONResponse({"alarms": []})
        recovers[:] = recovers or [Alarm("view_recovers", "", clock.now())]
        return refusal(NotReady(), detail="waiting: view_recovers", alarms=jsonable_encoder(recovers))

    @shown.get("/metrics")
    async def metrics() -> Response:
        """All figures of this process, as they are now."""
        ALARMS.labels("view_recovers").set(not is_current(app))
        BUILD.tell({(version(),): 1})
        tell_sensed(app)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @shown.get(f"/v1/views/{view.topics.service}")
    async def get_view() -> JSONResponse:
        """The tables as they are now."""
        if not is_current(app):
            raise NotReady
        return JSONResponse(dict(view.show(tables, clock.now())))

    return shown


def is_current(app: Any) -> bool:
    """Whether a faust application has partitions, and its tables are whole."""
    if app.rebalancing or app.in_recovery or app.crashed or not app.started:
        return False
    try:
        return bool(app.consumer.assignment())
    except ConsumerNotStarted:
        return False


def faust_app(view: View, settings: ViewSettings) -> tuple[Any, Tables]:
    """The faust application that fills the tables of a view, and these."""
    bound_fetching()
    aiokafka.AIOKafkaConsumer = ViewConsumer  # where faust looks for it as it starts
    space, topics = settings.kafka.namespace, view.topics
    app = faust.App(
        topics.group(space),
        broker=";".join(f"kafka://{host}" for host in settings.kafka.bootstrap.split(",")),
        broker_credentials=faust.SASLCredentials(
            username=settings.kafka.user,
            password=secret_from(settings.kafka.password_file).get_secret_value(),
            mechanism="SCRAM-SHA-512",
        ),
        broker_session_timeout=kafka.SESSION_MS / 1000,
        broker_heartbeat_interval=kafka.HEARTBEAT_MS / 1000,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=topics.member,
        datadir=str(settings.hold_file.with_suffix(".faust")),  # else it makes a folder where it was started
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        TableManager=ViewTables,
        stream_buffer_maxsize=16_384,
        producer_linger=0.005,
        producer_max_batch_size=kafka.BATCH_BYTES_MAX,
        web_enabled=False,
        autodiscover=False,
    )
    tables = {name: app.Table(name) for name in topics.tables}
    keep = _keeper(view, tables, settings)
    app.agent(app.topic(topics.source.name(space)), concurrency=1)(keep)
    return app, tables


def _keeper(view: View, tables: Tables, settings: ViewSettings) -> Callable[[Any], Any]:
    async def keep(stream: Any) -> None:
        # One event at a time, though faust could hand over many: a table's change goes to the partition of
        # the event in hand, and there alone it is found again.
        async for event in stream.events():
            try:
                message = event.message
                _apply(view, message, tables, settings)
                crash_point("view.applied")  # not acknowledged: the event comes again, which changes nothing
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                log().critical("view_failed", error_class=type(error).__name__)
                os._exit(FAILED)

    return keep


def _apply(view: View, message: Any, tables: Tables, settings: ViewSettings) -> None:
    headers = tuple((name, value) for name, value in message.headers or ())
    try:
        event = read(
            view.topics.source, headers, message.key, message.value, cell=settings.cell, mode=settings.mode
        )
    except Unusable as unusable:  # another reader of this topic has set it aside
        VIEW_SKIPPED.labels(unusable.reason).inc()
        return
    view.apply(event, (message.partition, message.offset), tables)
    VIEW_APPLIED.inc()
