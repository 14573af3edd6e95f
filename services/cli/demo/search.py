"""Looks for planted strings on disk and in databases, and for a control that must be found there."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from deploy.local.provisioning import apply_topology
from schemas.wire.topic import Topic
from services.cli.demo.canaries import BEGINNINGS, MARKERS
from services.cli.demo.checks import (
    CANARY,
    DATABASE,
    DATABASE_FILES,
    ESCAPED,
    HEX,
    LOGS,
    MAILS,
    NOBODY,
    OPENED,
    RAW,
    SEGMENTS,
    SHIFTS,
    UTF_16,
    VAULTS,
    NameTrace,
)
from services.cli.demo.trial import Trial

CONTROL: Final = "\u7a71\u6b77\u7678\u706a\u7976\u6771\u786b\u6a7a"
"""Letters whose UTF-16 is plain ASCII: even a line of a log can hold every form of it."""
CONTROL_TOPIC: Final = Topic(
    title="demo.control", writer="governance", readers=(), classification="internal", keys=(), carries={}
)
"""A topic that nobody reads, for a string that must be found where the planted ones must not."""
_CONTROL_ROW: Final = "INSERT INTO outbox (shard, topic, key, sequence, value) VALUES (0, $1, $2, 1, $3)"
_TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
_CONTROL_LINE: Final = "DO $$ BEGIN RAISE LOG '%', '{}'; END $$"
_TO_DISK: Final = "CHECKPOINT"
_NOTHING: Final = bytes(64)
"""Files of the database are mostly this; no form of a string has so many zeros in a row."""

Forms = Mapping[str, frozenset[bytes]]
"""The name of each form → the bytes that it can have."""


async def plant_control(trial: Trial, connection: Any) -> None:
    """Bring the control string in all its forms into a database, Kafka's segments and a log, by real ways.

    An outbox row of governance goes to a topic that nobody reads, and stays behind as sent; the database
    server writes a line into its log.
    """
    await asyncio.to_thread(apply_topology, trial.installation, CONTROL_TOPIC)
    value = b" ".join(each for form in forms_of(CONTROL).values() for each in sorted(form))
    name = CONTROL_TOPIC.name(trial.installation.kafka.namespace)
    await connection.execute(_CONTROL_ROW, name, b"control", value)
    await connection.execute(_CONTROL_LINE.format(value.decode()))


async def search(trial: Trial, connections: Mapping[str, Any]) -> tuple[list[NameTrace], Mapping[str, int]]:
    """Traces of canaries, planted names and the control, and how many bytes were looked through where."""
    names = [(agency.sector, forms_of(name)) for agency in trial.agencies for name in agency.planted]
    others = [(NOBODY, forms_of(CONTROL)), *((CANARY, forms_of(marker)) for marker in MARKERS)]
    traces: list[NameTrace] = []
    size_bytes: Counter[str] = Counter()
    await connections["governance"].execute(_TO_DISK)
    async for place, where, content in _contents(trial, connections):
        size_bytes[place] += len(content)
        # The server's files mix what every sector's database holds: a name that is at home lies there.
        strings = others if place == DATABASE_FILES else [*names, *others]
        content = content.replace(_NOTHING, b"\0")
        found = await asyncio.to_thread(in_content, place, where, content, strings)
        traces += await asyncio.to_thread(with_fields, found, content)
    return traces, size_bytes


async def _contents(trial: Trial, connections: Mapping[str, Any]) -> AsyncIterator[tuple[str, str, bytes]]:
    """Each file and database, and what lies in it."""
    configuration = trial.installation.configuration
    data = configuration.data
    for place, files in (
        (SEGMENTS, (data / "kafka" / "records").rglob("*.log")),
        (LOGS, configuration.logs.rglob("*")),
        (DATABASE_FILES, (data / "postgres" / "cluster").rglob("*")),
        (MAILS, trial.installation.mail_folder.rglob("*")),
        (VAULTS, (data / "vaults").rglob("*")),
        (OPENED, trial.pulls.folder.rglob("*")),
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
    place: str, where: str, content: bytes, strings: Sequence[tuple[str, Forms]]
) -> list[NameTrace]:
    """The traces in one piece of content of strings: whose each is, and each form of it."""
    return [
        NameTrace(place, where, form, sector)
        for sector, forms in strings
        for form in found_in(content, forms)
    ]


def with_fields(traces: Iterable[NameTrace], content: bytes) -> list[NameTrace]:
    """The same traces; a canary's says of which fields the content holds it in that form."""
    named: list[NameTrace] = []
    for trace in traces:
        fields = [
            field
            for field, beginning in BEGINNINGS.items()
            if trace.sector == CANARY and trace.form in found_in(content, forms_of(beginning))
        ]
        named += [replace(trace, field=field) for field in fields] or [trace]
    return named


def forms_of(text: str) -> Forms:
    """Each form in which a string could lie there; base64 at each alignment, in both alphabets."""
    raw = text.encode()
    hexadecimal = raw.hex().encode()
    forms = {
        RAW: {raw},
        ESCAPED: {json.dumps(text)[1:-1].encode("ascii")},
        HEX: {hexadecimal, hexadecimal.upper()},
        UTF_16: {text.encode("utf-16-le"), text.encode("utf-16-be")},
        **{name: _in_base64(raw, shift) for shift, name in enumerate(SHIFTS)},
    }
    return {name: frozenset(form) for name, form in forms.items()}


def found_in(content: bytes, forms: Forms) -> Iterator[str]:
    """The forms that occur in the content."""
    return (name for name, form in forms.items() if any(each in content for each in form))


def content_of(values: Iterable[object]) -> bytes:
    """A database's values in one piece, as text and bytes lie in them."""
    return b"\n".join(
        value if isinstance(value, bytes) else str(value).encode() for value in values if value is not None
    )


def _in_base64(raw: bytes, shift: int) -> set[bytes]:
    """The characters that nothing before or after can change, `shift` bytes into a group of three."""
    encoded = base64.b64encode(bytes(shift) + raw)
    standard = encoded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
    return {standard, standard.translate(bytes.maketrans(b"+/", b"-_"))}
