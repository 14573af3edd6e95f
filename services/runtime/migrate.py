"""Brings a service's database to the schema its code needs, as the owner role; services only check it.

A migration is a numbered script of plain SQL; `{service}` in it is the service's name, also its login role.
No script is ever taken back: that would lose what was answered 202. Restore a backup instead.
"""

from pathlib import Path
from typing import Final

import asyncpg

from services.runtime.database import Database, address_of
from services.runtime.errors import Unavailable
from services.runtime.settings import DatabaseSettings, RuntimeSettings

SERVICES_FOLDER: Final = Path(__file__).parent.parent
DURABLE: Final = SERVICES_FOLDER / "runtime" / "migrations"
ENGINE: Final = SERVICES_FOLDER / "sector" / "migrations"
WITHOUT_KAFKA: Final = ("audit",)
_VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
  script text PRIMARY KEY, run_at timestamptz NOT NULL DEFAULT now());
GRANT SELECT ON schema_version TO "{service}";
"""


class WrongSchema(Exception):
    """The database is not at the version this code needs."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the database of {service} has another schema; run: python -m services.{service} migrate"
        )


def scripts(service: str) -> list[Path]:
    """A service's migrations in order: the durable path's, then its own; sectors have the engine's."""
    durable = [] if service in WITHOUT_KAFKA else [DURABLE]
    own = SERVICES_FOLDER / service / "migrations"
    folders = [*durable, own if own.is_dir() else ENGINE]
    return [script for folder in folders for script in sorted(folder.glob("*.sql"))]


async def is_current(database: Database, service: str) -> bool:
    """Whether just the scripts of this code have run."""
    async with database.transaction() as transaction:
        exists = await transaction.rows("SELECT to_regclass('schema_version') IS NOT NULL AS it_does")
        if not exists[0].it_does:
            return False
        rows = await transaction.rows("SELECT script FROM schema_version")
    return {row.script for row in rows} == {script.stem for script in scripts(service)}


async def check_schema(database: Database, service: str) -> None:
    """Raise WrongSchema unless the database is at this code's version."""
    if not await is_current(database, service):
        raise WrongSchema(service)


async def migrate(service: str, settings: DatabaseSettings) -> None:
    """Run what has not run, all or nothing, as a role that may act as `<service>_owner`."""
    try:
        connection = await asyncpg.connect(**address_of(settings))
    except OSError as error:
        raise Unavailable("the database does not answer") from error
    try:
        async with connection.transaction():
            await connection.execute(f'SET LOCAL ROLE "{service}_owner"')
            await connection.execute(_VERSIONS.replace("{service}", service))
            await connection.execute("LOCK TABLE schema_version")  # one migration at a time
            done = {row[0] for row in await connection.fetch("SELECT script FROM schema_version")}
            for script in scripts(service):
                if script.stem not in done:
                    await connection.execute(script.read_text().replace("{service}", service))
                    await connection.execute("INSERT INTO schema_version VALUES ($1)", script.stem)
    finally:
        await connection.close()


async def migrate_from_environment(service: str) -> None:
    """`python -m services.<service> migrate`: with the database of the environment."""
    await migrate(service, RuntimeSettings.from_environment().database)
