"""The administrator's eyes: reads databases and brokers, and waits until nothing is on its way any more."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from schemas.topics import INBOX, REFERRALS_FACTS, SECTORS, TOPICS
from schemas.wire.cloudevents import decode
from schemas.wire.envelope import HEADERS
from schemas.wire.sealing import open_event
from services.cli.agency_client import NumberedFact
from services.cli.demo.trial import until
from services.runtime import administration

_UNSENT: Final = "SELECT count(*) FROM outbox"
_UNREPORTED: Final = "SELECT count(*) FROM trail_outbox WHERE refused IS NULL"
_UNTOLD: Final = "SELECT count(*) FROM notice WHERE state IN ('waiting', 'sending')"
_UNSIGNED: Final = "SELECT (SELECT size FROM log_state) - coalesce((SELECT max(size) FROM checkpoint), 0)"
_WAITING: Final = (
    *((service, _UNSENT) for service in DATABASES if service != "audit"),
    *((sector, _UNREPORTED) for sector in SECTORS),
    ("notifications", _UNTOLD),
    ("audit", _UNSIGNED),
)
_SENT: Final = "SELECT topic, value FROM outbox_sent UNION ALL SELECT topic, value FROM outbox"
_OFFSETS: Final = "SELECT topic, part, next FROM consumer_offset"
_TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""


@dataclass(frozen=True, slots=True)
class Onlooker:
    """An administrator's connections to every database."""

    installation: Installation
    connections: Mapping[str, Any]

    async def count(self, service: str, sql: str) -> int:
        """A number from one database."""
        return int(await self.connections[service].fetchval(sql))

    async def quiet(self) -> None:
        """Wait until nothing is in an outbox or on its way to a reader or a desk, and the trail is signed."""
        await until(self._is_quiet, "every queue is empty")

    async def arbiter_sent(self) -> tuple[list[NumberedFact], list[Mapping[str, Any]]]:
        """All that the arbiter addressed to parties, and all that it sent out for statistics."""
        addressed: list[NumberedFact] = []
        counted: list[Mapping[str, Any]] = []
        by_name = {
            topic.name(self.installation.namespace): topic for topic in (*INBOX.values(), REFERRALS_FACTS)
        }
        for row in await self.connections["referrals"].fetch(_SENT):
            if not (topic := by_name.get(row["topic"])):
                continue
            event = decode(HEADERS, row["value"])
            opened = open_event(event, topic, mode=self.installation.configuration.mode)
            full_type = str(opened.attributes["type"])
            fact = {**opened.data, "type": full_type.removeprefix("org.concert.").rpartition(".v")[0]}
            if topic is REFERRALS_FACTS:
                counted.append(fact)
            else:
                cause = str(event.attributes.get("causationid"))
                addressed.append(NumberedFact(**fact, agency=fact["to"], caused_by=cause))
        return addressed, counted

    async def values(self, service: str) -> AsyncIterator[object]:
        """Every value of every table of a database."""
        connection = self.connections[service]
        for (table,) in await connection.fetch(_TABLES):
            rows = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608 - names from the catalogue
            for value in chain.from_iterable(rows):
                yield value

    async def _is_quiet(self) -> bool:
        for service, question in _WAITING:
            if await self.count(service, question):
                return False
        return not await self._is_behind()

    async def _is_behind(self) -> bool:
        """Whether any reader has not applied all that the brokers hold for it."""
        names = {topic.name(self.installation.namespace): topic for topic in TOPICS}
        with administration.connect(self.installation.bootstrap, *self.installation.kafka_admin) as admin:
            ends = administration.ends(admin, list(names))
        for reader in {reader for topic in TOPICS for reader in topic.readers}:
            rows = await self.connections[reader].fetch(_OFFSETS)
            applied = {(row["topic"], row["part"]): row["next"] for row in rows}
            if any(
                applied.get(place, 0) < end
                for place, end in ends.items()
                if reader in names[place[0]].readers
            ):
                return True
        return False


@asynccontextmanager
async def looking(installation: Installation) -> AsyncIterator[Onlooker]:
    """Open the connections, and close them."""
    async with AsyncExitStack() as stack:
        connections = {
            service: await stack.enter_async_context(installation.server.connection(database.name))
            for service, database in DATABASES.items()
        }
        yield Onlooker(installation, connections)
