"""A database for each service and the roles that may use it; made again and again with the same result."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import asyncpg
from sqlalchemy import URL

from schemas.topics import SERVICES

FURTHER_ROLES: Final[Mapping[str, tuple[str, ...]]] = {"audit": ("audit_sign",)}
"""Login roles of a database besides the service's own."""

SCRAM_ITERATIONS: Final = 4096
LOGIN_CONNECTIONS_MAX: Final = 45
"""One stolen role must not take the places of all others."""
NO_RIGHTS: Final = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


class ServiceDatabase(NamedTuple):
    """A service's database: its owner role cannot log in, and the roles that log in own nothing."""

    service: str
    name: str
    owner: str
    logins: tuple[str, ...]


DATABASES: Final = {
    each: ServiceDatabase(each, f"concert_{each}", f"{each}_owner", (each, *FURTHER_ROLES.get(each, ())))
    for each in SERVICES
}


class DatabaseServer:
    """What an administrator does to a server."""

    def __init__(self, url: URL) -> None:
        self.url = url

    @asynccontextmanager
    async def connection(self, database: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        """A connection as administrator, to the server's own or to a named database."""
        address = self.url.set(drivername="postgresql", database=database or self.url.database)
        connection = await asyncpg.connect(address.render_as_string(hide_password=False))
        try:
            yield connection
        finally:
            await connection.close()

    async def apply(self, passwords: Mapping[str, str]) -> None:
        """Makes roles and databases that are missing and sets passwords and rights as they must be."""
        async with self.connection() as connection:
            for database in DATABASES.values():
                await _make_roles(connection, database, passwords)
                await make_database(connection, database.name, database)


async def _make_roles(
    connection: asyncpg.Connection, database: ServiceDatabase, passwords: Mapping[str, str]
) -> None:
    known = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    if database.owner not in known:
        await connection.execute(f"CREATE ROLE {quoted(database.owner)}")
    await connection.execute(f"ALTER ROLE {quoted(database.owner)} NOLOGIN {NO_RIGHTS}")
    for login in database.logins:
        if login not in known:
            await connection.execute(f"CREATE ROLE {quoted(login)}")
        # The password itself must not stand in a statement, which logs and statistics may keep.
        verifier = scram_verifier(passwords[login])
        await connection.execute(
            f"ALTER ROLE {quoted(login)} LOGIN NOINHERIT {NO_RIGHTS} "
            f"CONNECTION LIMIT {LOGIN_CONNECTIONS_MAX} PASSWORD '{verifier}'"
        )


def scram_verifier(password: str) -> str:
    """What the server keeps of a password; nobody can log in with it."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    shown = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:" + "{}${}:{}".format(*shown)


async def make_database(
    connection: asyncpg.Connection, name: str, service: ServiceDatabase, template: str = "template1"
) -> None:
    """A database under this name for a service's roles alone."""
    if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
        owner, source = quoted(service.owner), quoted(template)
        await connection.execute(f"CREATE DATABASE {quoted(name)} OWNER {owner} TEMPLATE {source}")
    await connection.execute(f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC")
    for login in service.logins:
        await connection.execute(f"GRANT CONNECT ON DATABASE {quoted(name)} TO {quoted(login)}")


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
