"""The search for planted strings on disk and in databases, with a control string that it must find there."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.local.databases import DATABASES
from schemas.topics import SERVICES, TOPICS
from schemas.wire.topic import Topic
from services.cli.demo.agencies import Agency
from services.cli.demo.evidence import Searched, Trace
from services.cli.demo.looking import Onlooker
from services.cli.demo.stage import Stage
from services.cli.demo.traces import DATABASE, LOGS, SEGMENTS, content_of, files_below, forms_of, found_in
from services.runtime import administration

CONTROL: Final = "Contról Zephyrine Øktober"
CONTROL_TOPIC: Final = Topic(
    title="demo.control", writer="governance", readers=(), classification="internal", keys=(), carries={}
)
"""A topic that nobody reads, for a string that must be found where the planted ones must not."""
NOBODY: Final = "control"
"""Stands for the sector in a trace of the control string."""
_CONTROL_ROW: Final = "INSERT INTO outbox (shard, topic, key, sequence, value) VALUES (0, $1, $2, 1, $3)"
_CONTROL_LINE: Final = "DO $$ BEGIN RAISE LOG '%', '{}'; END $$"

Needles = Sequence[tuple[str, Mapping[str, bytes]]]
Found = tuple[list[Trace], int]
"""Traces, and how many bytes were looked through."""


def planted(agency: Agency) -> tuple[str, str]:
    """What an agency plants."""
    return agency.planted, agency.planted_key


async def send_control(stage: Stage, onlooker: Onlooker) -> None:
    """Bring the control string in all its forms into a database, Kafka's segments and a log, by real ways.

    An outbox row of governance goes to a topic that nobody reads, and stays behind as sent; the database
    server writes a line into its log.
    """
    await asyncio.to_thread(_make_topic, stage)
    value = b" ".join(forms_of(CONTROL).values())
    connection = onlooker.connections["governance"]
    name = CONTROL_TOPIC.name(stage.installation.namespace)
    await connection.execute(_CONTROL_ROW, name, b"control", value)
    await connection.execute(_CONTROL_LINE.format(value.decode()))


def _make_topic(stage: Stage) -> None:
    installation = stage.installation
    is_embedded = installation.configuration.kafka is None
    wanted = administration.desired(
        (*TOPICS, CONTROL_TOPIC), SERVICES, installation.namespace, local=is_embedded
    )
    with administration.connect(installation.bootstrap, *installation.kafka_admin) as admin:
        administration.apply(admin, wanted, lambda user: installation.secrets.password("kafka", user))


async def search(stage: Stage, onlooker: Onlooker) -> tuple[list[Trace], list[Searched]]:
    """Look for what was planted, and for the control string, in segments, logs and databases."""
    configuration = stage.installation.configuration
    needles = [(agency.sector, forms_of(name)) for agency in stage.agencies for name in planted(agency)]
    needles.append((NOBODY, forms_of(CONTROL)))
    records = files_below(configuration.data / "kafka" / "records")
    segments = [path for path in records if path.suffix == ".log"]
    places = {
        SEGMENTS: await asyncio.to_thread(in_files, SEGMENTS, segments, needles),
        LOGS: await asyncio.to_thread(in_files, LOGS, files_below(configuration.logs), needles),
        DATABASE: await _in_databases(onlooker, needles),
    }
    traces = [trace for found, _ in places.values() for trace in found if trace.sector != NOBODY]
    return traces, [searched(place, found) for place, found in places.items()]


def searched(place: str, found: Found) -> Searched:
    """How much was looked through in a place, and how the control string was found there."""
    traces, size = found
    return Searched(place, size, frozenset(trace.form for trace in traces if trace.sector == NOBODY))


async def _in_databases(onlooker: Onlooker, needles: Needles) -> Found:
    traces, size = [], 0
    for service in DATABASES:
        content = content_of([value async for table in onlooker.values(service) for value in table])
        size += len(content)
        traces += await asyncio.to_thread(in_content, service, DATABASE, content, needles)
    return traces, size


def in_files(kind: str, files: Iterable[Path], needles: Needles) -> Found:
    """The traces in files of a kind."""
    traces, size = [], 0
    for path in files:
        content = path.read_bytes()
        size += len(content)
        traces += in_content(kind, f"{path.parent.name}/{path.name}", content, needles)
    return traces, size


def in_content(kind: str, place: str, content: bytes, needles: Needles) -> list[Trace]:
    """The traces in one piece of content."""
    return [
        Trace(kind, place, form, sector) for sector, forms in needles for form in found_in(content, forms)
    ]
