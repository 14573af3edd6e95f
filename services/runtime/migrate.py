"""Brings a database to the schema its code needs, by Alembic as the owner role; services only check it.

A migration is a script of plain SQL beside its revision; `{service}` in it is the service's login role.
No revision is ever taken back: that would lose what was answered 202. Restore a backup instead.
"""

from pathlib import Path
from typing import Final

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.settings import DatabaseSettings, secret_from

SERVICES_FOLDER: Final = Path(__file__).parent.parent
DURABLE: Final = SERVICES_FOLDER / "runtime" / "migrations"
ENGINE: Final = SERVICES_FOLDER / "sector" / "migrations"
ENVIRONMENT: Final = SERVICES_FOLDER / "runtime" / "migration_environment"
WITHOUT_KAFKA: Final = ("audit",)


class WrongSchema(Exception):
    """The database is not at the version this code needs."""


def folders(service: str) -> list[Path]:
    """Where a service's migrations lie: the durable path's, then its own; sectors have the engine's."""
    durable = [] if service in WITHOUT_KAFKA else [DURABLE]
    own = SERVICES_FOLDER / service / "migrations"
    return [*durable, own if own.is_dir() else ENGINE]


async def is_current(database: Database, service: str) -> bool:
    """Whether the database has the newest revision of each folder; files are named for their revisions."""
    async with database.transaction() as transaction:
        exists = await transaction.rows("SELECT to_regclass('alembic_version') IS NOT NULL AS it_does")
        if not exists[0].it_does:
            return False
        rows = await transaction.rows("SELECT version_num FROM alembic_version")
    newest = {max(script.stem for script in folder.glob("*.sql")) for folder in folders(service)}
    return {row.version_num for row in rows} == newest


async def check_schema(database: Database, service: str) -> None:
    """Raise WrongSchema unless the database is at this code's version."""
    if not await is_current(database, service):
        raise WrongSchema(
            f"the database of {service} has another schema; run: python -m services.{service} migrate"
        )


async def migrate(service: str, settings: DatabaseSettings) -> None:
    """Upgrade to the newest version, all or nothing, as a role that may act as `<service>_owner`."""
    url = make_url(settings.url).set(drivername="postgresql+asyncpg")
    if settings.password_file:
        url = url.set(password=secret_from(settings.password_file).get_secret_value())
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, service)
    except OSError as error:
        raise Unavailable("the database does not answer") from error
    finally:
        await engine.dispose()


def run_script(revision: str) -> None:
    """Run the script beside a revision's file, several statements within the migration's one transaction."""
    sql = Path(revision).with_suffix(".sql").read_text("utf-8")
    connection = op.get_bind().connection.dbapi_connection
    assert connection  # noqa: S101  a migration runs on an open connection
    service = context.config.attributes["service"]
    connection.run_async(lambda driver: driver.execute(sql.replace("{service}", service)))


def _upgrade(connection: Connection, service: str) -> None:
    connection.execute(text(f'SET ROLE "{service}_owner"'))
    config = Config()
    config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    locations = "\n".join(str(folder).replace("%", "%%") for folder in folders(service))
    config.set_main_option("version_locations", locations)
    config.attributes.update(connection=connection, service=service)
    command.upgrade(config, "heads")
    connection.execute(text(f'GRANT SELECT ON alembic_version TO "{service}"'))
