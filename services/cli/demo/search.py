"""Looks for planted strings on disk and in databases, and for a control string that must be found there."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local.provisioning import apply_topology
from schemas.wire.topic import Topic
from services.cli.demo.checks import DATABASE, ESCAPED, LOGS, NOBODY, RAW, SEGMENTS, SHIFTS, NameTrace
from services.cli.demo.trial import Trial

CONTROL: Final = "Contról Zephyrine Øktober"
CONTROL_TOPIC: Final = Topic(
    title="demo.control", writer="governance", readers=(), classification="internal", keys=(), carries={}
)
"""A topic that nobody reads, for a string that must be found where the planted ones must not."""
_CONTROL_ROW: Final = "INSERT INTO outbox (shard, topic, key, sequence, value) VALUES (0, $1, $2, 1, $3)"
_TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
_CONTROL_LINE: Final = "DO $$ BEGIN RAISE LOG '%', '{}'; END $$"


async def plant_control(trial: Trial, connection: Any) -> None:
    """Bring the control string in all its forms into a database, Kafka's segments and a log, by real ways.

    An outbox row of governance goes to a topic that nobody reads, and stays behind as sent; the database
    server writes a line into its log.
    """
    await asyncio.to_thread(apply_topology, trial.installation, CONTROL_TOPIC)
    value = b" ".join(forms_of(CONTROL).values())
    name = CONTROL_TOPIC.name(trial.installation.kafka.namespace)
    await connection.execute(_CONTROL_ROW, name, b"control", value)
    await connection.execute(_CONTROL_LINE.format(value.decode()))


async def search(trial: Trial, connections: Mapping[str, Any]) -> tuple[list[NameTrace], Mapping[str, int]]:
    """Traces of what was planted and of the control string, and how many bytes were looked through where."""
    strings = [(agency.sector, forms_of(name)) for agency in trial.agencies for name in agency.planted]
    strings.append((NOBODY, forms_of(CONTROL)))
    traces: list[NameTrace] = []
    size_bytes: Counter[str] = Counter()
    async for place, where, content in _contents(trial, connections):
        size_bytes[place] += len(content)
        traces += await asyncio.to_thread(in_content, place, where, content, strings)
    return traces, size_bytes


async def _contents(trial: Trial, connections: Mapping[str, Any]) -> AsyncIterator[tuple[str, str, bytes]]:
    """Each segment, log and database, and what lies in it."""
    configuration = trial.installation.configuration
    for place, files in (
        (SEGMENTS, (configuration.data / "kafka" / "records").rglob("*.log")),
        (LOGS, configuration.logs.rglob("*")),
    ):
        for file in filter(Path.is_file, files):
            yield place, f"{file.parent.name}/{file.name}", await asyncio.to_thread(file.read_bytes)
    for service, connection in connections.items():
        tables = [
            await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608 - names from the catalogue
            for (table,) in await connection.fetch(_TABLES)
        ]
        yield DATABASE, service, content_of(value for rows in tables for row in rows for value in row)


def in_content(
    place: str, where: str, content: bytes, strings: Sequence[tuple[str, Mapping[str, bytes]]]
) -> list[NameTrace]:
    """The traces in one piece of content of strings: whose each is, and each form of it."""
    return [
        NameTrace(place, where, form, sector)
        for sector, forms in strings
        for form in found_in(content, forms)
    ]


def forms_of(text: str) -> Mapping[str, bytes]:
    """Each form in which a string could lie there; base64 at each of its three alignments."""
    raw = text.encode()
    forms = {RAW: raw, ESCAPED: json.dumps(text)[1:-1].encode("ascii")}
    return forms | {name: _in_base64(raw, shift) for shift, name in enumerate(SHIFTS)}


def found_in(content: bytes, forms: Mapping[str, bytes]) -> Iterator[str]:
    """The forms that occur in the content; base64 also in its other alphabet."""
    for name, form in forms.items():
        if form in content or form.translate(bytes.maketrans(b"+/", b"-_")) in content:
            yield name


def content_of(values: Iterable[object]) -> bytes:
    """A database's values in one piece, as text and bytes lie in them."""
    return b"\n".join(
        value if isinstance(value, bytes) else str(value).encode() for value in values if value is not None
    )


def _in_base64(raw: bytes, shift: int) -> bytes:
    """The characters that nothing before or after can change, `shift` bytes into a group of three."""
    encoded = base64.b64encode(bytes(shift) + raw)
    return encoded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
