"""The administrator's eyes: reads databases and brokers, and waits until nothing is on its way any more."""

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from schemas.topics import INBOX, REFERRALS_FACTS, SECTORS, TOPICS
from schemas.wire.envelope import HEADERS, decode, open_event
from schemas.wire.topic import Topic
from services.cli.demo.evidence import Addressed, Counted, Told
from services.runtime import administration

WITH_OUTBOX: Final = tuple(service for service in DATABASES if service != "audit")
_UNSENT: Final = "SELECT count(*) FROM outbox"
_UNREPORTED: Final = "SELECT count(*) FROM trail_outbox WHERE refused IS NULL"
_UNTOLD: Final = "SELECT count(*) FROM notice WHERE state IN ('waiting', 'sending')"
_WAITING: Final = {
    **dict.fromkeys(WITH_OUTBOX, (_UNSENT,)),
    **dict.fromkeys(SECTORS, (_UNSENT, _UNREPORTED)),
    "notifications": (_UNSENT, _UNTOLD),
}
_SENT: Final = "SELECT topic, value FROM outbox_sent UNION ALL SELECT topic, value FROM outbox"
_OFFSETS: Final = "SELECT topic, part, next FROM consumer_offset"
_TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
_UNSIGNED: Final = """
SELECT (SELECT size FROM log_state) - coalesce((SELECT max(size) FROM checkpoint), 0)"""


@dataclass(frozen=True, slots=True)
class Onlooker:
    """An administrator's connections to every database."""

    installation: Installation
    connections: Mapping[str, Any]

    async def count(self, service: str, sql: str) -> int:
        """A number from one database."""
        return int(await self.connections[service].fetchval(sql))

    async def is_quiet(self) -> bool:
        """Nothing waits in an outbox, for a reader, for the trail or for a mail server."""
        for service, questions in _WAITING.items():
            for sql in questions:
                if await self.count(service, sql):
                    return False
        return not await self._behind()

    async def is_signed(self) -> bool:
        """The newest checkpoint covers every entry of the trail."""
        return await self.count("audit", _UNSIGNED) == 0

    async def _behind(self) -> bool:
        """Whether any reader has not applied all that the brokers hold for it."""
        names = [topic.name(self.installation.namespace) for topic in TOPICS]
        with administration.connect(self.installation.bootstrap, *self.installation.kafka_admin) as admin:
            ends = {place: after for place, (_, after) in administration.ends(admin, names).items() if after}
        for topic in TOPICS:
            name = topic.name(self.installation.namespace)
            for reader in topic.readers:
                applied = await self._applied(reader)
                if any(applied.get(place, 0) < end for place, end in ends.items() if place[0] == name):
                    return True
        return False

    async def _applied(self, reader: str) -> Mapping[tuple[str, int], int]:
        rows = await self.connections[reader].fetch(_OFFSETS)
        return {(row["topic"], row["part"]): row["next"] for row in rows}

    async def arbiter_said(self) -> tuple[list[Addressed], list[Counted]]:
        """All that the arbiter addressed to parties, and all that it sent out for statistics."""
        by_name = {
            topic.name(self.installation.namespace): topic for topic in (*INBOX.values(), REFERRALS_FACTS)
        }
        addressed, counted = [], []
        for row in await self.connections["referrals"].fetch(_SENT):
            topic = by_name.get(row["topic"])
            if topic is REFERRALS_FACTS:
                counted.append(_counted(topic, row["value"], self._mode))
            elif topic:
                addressed.append(_addressed(topic, row["value"], self._mode))
        return addressed, counted

    @property
    def _mode(self) -> str:
        return self.installation.configuration.mode

    async def states(self) -> dict[str, str]:
        """Where the arbiter's table says that each referral stands."""
        rows = await self.connections["referrals"].fetch("SELECT id, state FROM referral")
        return {row["id"]: row["state"] for row in rows}

    async def values(self, service: str) -> AsyncIterator[Sequence[object]]:
        """Every value of every table of a database, a table at a time."""
        connection = self.connections[service]
        for (table,) in await connection.fetch(_TABLES):
            rows = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608 - names from the catalogue
            yield [value for row in rows for value in row.values()]


@asynccontextmanager
async def looking(installation: Installation) -> AsyncIterator[Onlooker]:
    """Open the connections, and close them."""
    async with AsyncExitStack() as stack:
        connections = {
            service: await stack.enter_async_context(installation.server.connection(database.name))
            for service, database in DATABASES.items()
        }
        yield Onlooker(installation, connections)


def _opened(topic: Topic, value: bytes, mode: str) -> tuple[Mapping[str, Any], str, Mapping[str, Any]]:
    event = decode(HEADERS, value)
    opened = open_event(event, topic, mode=mode)
    return event.attributes, opened.type.removeprefix("org.concert.").rpartition(".v")[0], opened.data


def _addressed(topic: Topic, value: bytes, mode: str) -> Addressed:
    attributes, kind, fact = _opened(topic, value, mode)
    told = Told(fact["referral"], fact["to"], fact.get("number", 0), kind, fact.get("state"))
    return Addressed(told, attributes.get("causationid"), fact.get("step"), fact.get("code"))


def _counted(topic: Topic, value: bytes, mode: str) -> Counted:
    attributes, kind, fact = _opened(topic, value, mode)
    return Counted(
        str(attributes["id"]),
        fact["referral"],
        kind,
        attributes.get("causationid"),
        fact.get("awaits"),
        fact.get("awaits_desk"),
    )


def opened_details(text: str) -> list[Mapping[str, Any]]:
    """The details of an exported trail."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [json.loads(base64.b64decode(line["detail"])) for line in lines if "detail" in line]
