"""One real broker and database server for the whole run; every module has its own topics and databases."""

import asyncio
import os
import secrets
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, make_url

from deploy.local import ports
from deploy.local.certificates import Certificates
from deploy.local.databases import DATABASES, Server
from deploy.local.kafka import Kafka, KafkaPorts
from deploy.local.places import cache_directory, temporary_directory
from deploy.local.postgres import Postgres
from deploy.local.secrets import Secrets
from schemas.topics import SERVICES, TOPICS
from services.runtime import administration, migrate
from services.runtime.database import Database
from services.runtime.settings import DatabaseSettings, KafkaSettings, RuntimeSettings, TlsSettings

CELL: Final = "test-local"
T = TypeVar("T")
S = TypeVar("S", bound=RuntimeSettings)


class LoopThread:
    """An event loop that outlives single tests: the servers' processes belong to it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class TestPlatform:
    """The servers of this run, with an administrator's rights."""

    __test__ = False

    folder: Path
    secrets: Secrets
    certificates: Certificates
    bootstrap: str
    admin_password: str
    admin_user: str
    database_url: URL
    """The administrator's address, with the password."""
    loop: LoopThread
    kafka: Kafka | None = None
    postgres: Postgres | None = None
    _templates: set[str] = field(default_factory=set)

    @property
    def server(self) -> Server:
        """The database server, as administrator."""
        return Server(self.database_url)

    def template(self, service: str) -> str:
        """A migrated database to copy; made when it is first asked for."""
        name = f"template_{service}"
        if name not in self._templates:
            self.loop.call(self.server.create_database(name, DATABASES[service]))
            self.loop.call(migrate.migrate(service, self.url_as_admin(name)))
            self._templates.add(name)
        return name

    def url_as_admin(self, database: str) -> str:
        """The administrator's address of a database, with the password."""
        url = self.database_url.set(drivername="postgresql+asyncpg", database=database)
        return url.render_as_string(hide_password=False)

    def url_as(self, role: str, database: str) -> str:
        """A role's address of a database, without the password."""
        url = self.database_url
        return f"postgresql+asyncpg://{role}@{url.host}:{url.port}/{database}"


class Space:
    """A module's own topics, groups and databases."""

    def __init__(self, platform: TestPlatform) -> None:
        self.platform = platform
        self.namespace = f"t{secrets.token_hex(4)}."
        self._databases: dict[str, str] = {}
        self._has_topics = False

    def make_topics(self) -> None:
        """Create the topics and rights of this space."""
        if self._has_topics:
            return
        wanted = administration.desired(TOPICS, SERVICES, self.namespace, local=True)
        with self.admin() as admin:
            administration.apply(admin, wanted, lambda user: self.platform.secrets.password("kafka", user))
        self._has_topics = True

    def admin(self) -> Any:
        """An administrator's connection to the brokers; a context manager."""
        platform = self.platform
        return administration.connect(platform.bootstrap, platform.admin_user, platform.admin_password)

    def database_name(self, service: str) -> str:
        """This space's database of a service; copied from the template when it is first asked for."""
        if service not in self._databases:
            name = f"{self.namespace[:-1]}_{service}"
            template = self.platform.template(service)
            self.platform.loop.call(self.platform.server.create_database(name, DATABASES[service], template))
            self._databases[service] = name
        return self._databases[service]

    def database_settings(self, service: str, role: str | None = None) -> DatabaseSettings:
        """How a role reaches this space's database of a service."""
        role = role or service
        return DatabaseSettings(
            url=self.platform.url_as(role, self.database_name(service)),
            password_file=self.platform.secrets.password_file("database", role),
        )

    def database(self, service: str, role: str | None = None) -> Database:
        """A pool as one of a service's roles; the caller closes it."""
        return Database.connect(self.database_settings(service, role), application="tests", pool=4)

    def database_as_admin(self, service: str) -> Database:
        """A pool as administrator, to look and to tamper."""
        url = self.platform.url_as_admin(self.database_name(service))
        return Database.connect(DatabaseSettings(url=url), application="tests", pool=2)

    def kafka_settings(self, user: str) -> KafkaSettings:
        """How a user reaches the brokers, with this space's names."""
        self.make_topics()
        return KafkaSettings(
            bootstrap=self.platform.bootstrap,
            user=user,
            password_file=self.platform.secrets.password_file("kafka", user),
            namespace=self.namespace,
        )

    def tls_settings(self, name: str) -> TlsSettings:
        """The certificate of a service or of `operator`."""
        certificates = self.platform.certificates
        certificates.renew([name])
        return TlsSettings(
            certificate_file=certificates.certificate_file(name),
            key_file=certificates.key_file(name),
            authority_file=certificates.authority_file,
        )

    def settings(self, settings_class: type[S], service: str, **more: Any) -> S:
        """A service's settings in this space; `more` are its own."""
        return settings_class(
            mode="local",
            cell=CELL,
            database=self.database_settings(service),
            kafka=self.kafka_settings(service),
            tls=self.tls_settings(service),
            **more,
        )

    def close(self) -> None:
        """Drop the databases; topics go with the broker."""
        for name in self._databases.values():
            self.platform.loop.call(self.platform.server.drop_database(name))


@contextmanager
def started_platform() -> Iterator[TestPlatform]:
    """The servers that the environment names, else the embedded ones."""
    with temporary_directory("concert-tests-") as folder:
        secrets_folder = Secrets(folder / "secrets")
        loop = LoopThread()
        kafka, postgres = _embedded(folder, secrets_folder)
        try:
            loop.call(_start(kafka, postgres))
            platform = TestPlatform(
                folder=folder,
                secrets=secrets_folder,
                certificates=Certificates(folder / "certificates", CELL),
                bootstrap=kafka.bootstrap,
                admin_user="admin",
                admin_password=secrets_folder.password("kafka", "admin"),
                database_url=make_url(postgres.url).set(
                    password=secrets_folder.password("database", "postgres")
                ),
                loop=loop,
                kafka=kafka,
                postgres=postgres,
            )
            loop.call(platform.server.apply(_Passwords(secrets_folder)))
            yield platform
        finally:
            loop.call(_stop(kafka, postgres))
            loop.close()


class _Passwords(dict[str, str]):
    def __init__(self, made: Secrets) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, role: str) -> str:
        return self._made.password("database", role)


def _embedded(folder: Path, made: Secrets) -> tuple[Kafka, Postgres]:
    cache = cache_directory(os.environ)
    chosen = ports.usual_none({"client": 0, "internal": 0, "controller": 0, "database": 0})
    database_port = chosen.pop("database")
    kafka = Kafka(folder / "kafka", folder / "kafka.log", KafkaPorts(**chosen), made, cache, SERVICES)
    return kafka, Postgres(folder / "postgres", folder / "postgres.log", database_port, made, cache)


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
