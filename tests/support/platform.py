"""One real broker and database server for the whole run; every module has its own topics and databases."""

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from deploy.local.certificates import Certificates
from deploy.local.databases import DATABASES, DatabaseServer, make_database, quoted
from deploy.local.places import temporary_directory
from deploy.local.secrets import Secrets
from schemas.topics import ONLOOKERS, SERVICES, TOPICS, VIEWS
from services.runtime import administration, migrate
from services.runtime.database import Database
from services.runtime.identity import Identity
from services.runtime.outbox import Outbox
from services.runtime.settings import DatabaseSettings, KafkaSettings, RuntimeSettings, TlsSettings
from services.runtime.transaction import Transaction
from tests.support.governance import KEYS_TEXT
from tests.support.servers import LoopThread, Servers, found_servers

CELL: Final = "test-local"
S = TypeVar("S", bound=RuntimeSettings)


@dataclass
class TestPlatform:
    """The servers of this run, with an administrator's rights."""

    __test__ = False

    secrets: Secrets
    certificates: Certificates
    servers: Servers
    loop: LoopThread
    _templates: set[str] = field(default_factory=set)

    def governance_keys_file(self) -> Path:
        """The public keys of the tests' three holders."""
        file = self.secrets.folder / "governance.public.json"
        if not file.exists():
            file.write_bytes(KEYS_TEXT)
        return file

    @property
    def server(self) -> DatabaseServer:
        """The database server, as administrator."""
        return DatabaseServer(self.servers.database_url)

    async def make_database(self, name: str, service: str, template: str = "template1") -> None:
        """One more database for a service's roles, such as a copy of `template` for one test module."""
        async with self.server.connection() as connection:
            await make_database(connection, name, DATABASES[service], template)

    async def drop_database(self, name: str) -> None:
        """Remove a database and end whoever uses it."""
        async with self.server.connection() as connection:
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")

    def template(self, service: str) -> str:
        """A migrated database to copy; made when it is first asked for."""
        name = f"template_{service}"
        if name not in self._templates:
            self.loop.call(self.make_database(name, service))
            self.loop.call(migrate.migrate(service, DatabaseSettings(url=self.url_as_admin(name))))
            self._templates.add(name)
        return name

    def url_as_admin(self, database: str) -> str:
        """The administrator's address of a database, with the password."""
        url = self.servers.database_url.set(drivername="postgresql+asyncpg", database=database)
        return url.render_as_string(hide_password=False)

    def url_as(self, role: str, database: str) -> str:
        """A role's address of a database, without the password."""
        url = self.servers.database_url
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
        wanted = administration.topology(
            TOPICS, SERVICES, self.namespace, local=True, views=VIEWS, onlookers=ONLOOKERS
        )
        with self.admin() as admin:
            administration.apply(admin, wanted, lambda user: self.platform.secrets.password("kafka", user))
        self._has_topics = True

    def admin(self) -> Any:
        """An administrator's connection to the brokers; a context manager."""
        servers = self.platform.servers
        return administration.connect(servers.bootstrap, servers.admin_user, servers.admin_password)

    def database_name(self, service: str) -> str:
        """This space's database of a service; copied from the template when it is first asked for."""
        if service not in self._databases:
            name = f"{self.namespace[:-1]}_{service}"
            template = self.platform.template(service)
            self.platform.loop.call(self.platform.make_database(name, service, template))
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
        return Database(self.database_settings(service, role), application="tests", pool=4)

    def outbox(self, service: str) -> Outbox:
        """Writes what a service tells, in this space's names; wakes no relay."""
        return Outbox(Identity(service, CELL, namespace=self.namespace))

    def database_as_admin(self, service: str) -> Database:
        """A pool as administrator, to look and to tamper."""
        url = self.platform.url_as_admin(self.database_name(service))
        return Database(DatabaseSettings(url=url), application="tests", pool=2)

    @asynccontextmanager
    async def transaction(self, service: str, *, as_admin: bool = False) -> AsyncIterator[Transaction]:
        """One transaction in this space's database of a service."""
        database = self.database_as_admin(service) if as_admin else self.database(service)
        try:
            async with database.transaction() as transaction:
                yield transaction
        finally:
            await database.close()

    def kafka_settings(self, user: str) -> KafkaSettings:
        """How a user reaches the brokers, with this space's names."""
        self.make_topics()
        return KafkaSettings(
            bootstrap=self.platform.servers.bootstrap,
            user=user,
            password_file=self.platform.secrets.password_file("kafka", user),
            namespace=self.namespace,
        )

    def tls_settings(self, name: str) -> TlsSettings:
        """The certificate of a service or of `operator`."""
        certificates = self.platform.certificates
        certificates.renew([name])
        return certificates.tls_settings(name)

    def settings(self, settings_class: type[S], service: str, **more: Any) -> S:
        """A service's settings in this space; `more` are its own."""
        if "governance_keys_file" in settings_class.model_fields:
            more = {"governance_keys_file": self.platform.governance_keys_file()} | more
        return settings_class(
            mode="local",
            cell=CELL,
            database=self.database_settings(service),
            kafka=self.kafka_settings(service),
            tls=self.tls_settings(service),
            **more,
        )

    def close(self) -> None:
        """Drop the databases, and topics and rights where they do not go with the broker."""
        for name in self._databases.values():
            self.platform.loop.call(self.platform.drop_database(name))
        if self._has_topics and not self.platform.servers.kafka:
            self._drop_topics()

    def _drop_topics(self) -> None:
        with self.admin() as admin:
            administration.apply(admin, administration.topology((), (), self.namespace, local=True), str)
            admin.delete_topics([name for name in admin.list_topics() if name.startswith(self.namespace)])


@contextmanager
def started_platform() -> Iterator[TestPlatform]:
    """The servers of this run, with a role for each service."""
    with temporary_directory("concert-tests-") as folder:
        made = Secrets(folder / "secrets")
        loop = LoopThread()
        try:
            with found_servers(os.environ, folder, made, loop) as servers:
                certificates = Certificates(folder / "certificates", CELL)
                platform = TestPlatform(made, certificates, servers, loop)
                loop.call(platform.server.apply(_Passwords(made)))
                yield platform
        finally:
            loop.close()


class _Passwords(dict[str, str]):
    def __init__(self, made: Secrets) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, role: str) -> str:
        return self._made.password("database", role)
