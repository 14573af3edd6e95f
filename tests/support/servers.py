"""Where the tests' broker and database come from: addresses, else containers, else the embedded parts."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import pytest
from kafka.admin import UserScramCredentialDeletion
from sqlalchemy import URL, make_url

from deploy.local import kafka as broker
from deploy.local import ports
from deploy.local.databases import DATABASES, quoted
from deploy.local.kafka import Kafka
from deploy.local.places import cache_directory
from deploy.local.postgres import SETTINGS, Postgres
from deploy.local.processes import PLATFORM_PORTS
from deploy.local.secrets import Secrets
from deploy.local.subprocesses import silence
from schemas.topics import SERVICES
from services.runtime import administration

KAFKA: Final = "CONCERT_TEST_KAFKA"
"""`user:password-file@host:port[,host:port]` of an administrator of brokers that tests may use."""
DATABASE: Final = "CONCERT_TEST_DATABASE"
"""`postgresql://user:password@host:port/database` of an administrator of a server that tests may use."""
CONTAINERS: Final = "CONCERT_TEST_CONTAINERS"
T = TypeVar("T")


class LoopThread:
    """An event loop that outlives single tests: the servers' processes belong to it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for its result."""
        return self.start(work).result()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there meanwhile."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Servers:
    """One broker and one database server, with an administrator's rights; `kafka` where it is ours."""

    bootstrap: str
    admin_user: str
    admin_password: str
    database_url: URL
    kafka: Kafka | None = None


class NotForTests(Exception):
    """Servers that hold an installation, or addresses that cannot be used."""


@contextmanager
def found_servers(
    environment: Mapping[str, str], folder: Path, made: Secrets, loop: LoopThread
) -> Iterator[Servers]:
    """The servers that the environment asks for."""
    if environment.get(KAFKA) or environment.get(DATABASE):
        with _given(environment, loop) as servers:
            yield servers
    elif environment.get(CONTAINERS) == "1":
        from tests.support.containers import contained  # needs an engine, and packages that few runs need

        with contained(made) as servers, _cleared(servers, loop):
            yield servers
    else:
        with _embedded(folder, made, loop) as servers:
            yield servers


@contextmanager
def unflushed() -> Iterator[None]:
    """Servers that start meanwhile flush nothing: what a killed one has written the system keeps.

    No test cuts the power; flushing the files of every module's databases took most of its time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETTINGS, "fsync", "off")
        patch.setattr(broker, "PROPERTIES", broker.PROPERTIES.replace("log.flush.interval.messages=1\n", ""))
        yield


@contextmanager
def _given(environment: Mapping[str, str], loop: LoopThread) -> Iterator[Servers]:
    if not (environment.get(KAFKA) and environment.get(DATABASE)):
        raise NotForTests(f"give both {KAFKA} and {DATABASE}, or neither")
    who, _, bootstrap = environment[KAFKA].rpartition("@")
    user, _, password_file = who.partition(":")
    if not (user and password_file and bootstrap):
        raise NotForTests(f"write {KAFKA} as user:password-file@host:port")
    password = Path(password_file).read_text(encoding="ascii").strip()
    servers = Servers(bootstrap, user, password, make_url(environment[DATABASE]))
    with _cleared(servers, loop):
        yield servers


@contextmanager
def _cleared(servers: Servers, loop: LoopThread) -> Iterator[None]:
    """Servers that are not ours: refused if they hold an installation, left without what tests made."""
    _refuse_installation(servers)
    loop.call(_refuse_databases(servers))
    _forget_users(servers)
    try:
        yield
    finally:
        _forget_users(servers)
        loop.call(_forget_databases(servers))


def _refuse_installation(servers: Servers) -> None:
    with administration.connect(servers.bootstrap, servers.admin_user, servers.admin_password) as admin:
        foreign = [name for name in admin.list_topics() if name.startswith("concert.")]
    if foreign:
        raise NotForTests(f"the brokers hold {len(foreign)} topics of an installation; give tests their own")


def _forget_users(servers: Servers) -> None:
    """A former run's users have passwords that nobody knows any more."""
    with administration.connect(servers.bootstrap, servers.admin_user, servers.admin_password) as admin:
        known = {
            name for name, told in admin.describe_user_scram_credentials().items() if told["credential_infos"]
        }
        gone = [UserScramCredentialDeletion(user, administration.MECHANISM) for user in known & set(SERVICES)]
        if gone:
            admin.alter_user_scram_credentials(gone)


async def _refuse_databases(servers: Servers) -> None:
    found = await _fetched(servers, "SELECT datname FROM pg_database WHERE datname LIKE 'concert\\_%'")
    if found:
        raise NotForTests(f"the server holds the database {found[0]} and others; give tests their own")


async def _forget_databases(servers: Servers) -> None:
    names = [name for one in DATABASES.values() for name in (one.name, f"template_{one.service}")]
    roles = [role for one in DATABASES.values() for role in (*one.logins, one.owner)]
    for name in names:
        await _fetched(servers, f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
    for role in roles:
        await _fetched(servers, f"DROP ROLE IF EXISTS {quoted(role)}")


async def _fetched(servers: Servers, sql: str) -> list[str]:
    url = servers.database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(sql)]
    finally:
        await connection.close()


@contextmanager
def _embedded(folder: Path, made: Secrets, loop: LoopThread) -> Iterator[Servers]:
    cache = cache_directory()
    chosen = ports.trial_ports(PLATFORM_PORTS)
    kafka = Kafka(folder / "kafka", folder / "kafka.log", chosen, made, cache, silence)
    postgres = Postgres(folder / "postgres", folder / "postgres.log", chosen["postgres"], made, cache)
    try:
        with unflushed():
            loop.call(_start(kafka, postgres))
        yield Servers(
            kafka.bootstrap,
            "admin",
            made.password("kafka", "admin"),
            make_url(postgres.url).set(password=made.password("database", "postgres")),
            kafka,
        )
    finally:
        loop.call(_stop(kafka, postgres))


async def _start(kafka: Kafka, postgres: Postgres) -> None:
    async def up(part: Kafka | Postgres) -> None:
        await part.prepare()
        await part.start()
        await part.wait_ready()

    async with asyncio.TaskGroup() as group:
        group.create_task(up(kafka))
        group.create_task(up(postgres))


async def _stop(kafka: Kafka, postgres: Postgres) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(kafka.stop())
        group.create_task(postgres.stop())
