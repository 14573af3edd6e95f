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

from services.runtime.ages import Age, mark_of, prune_function, read_ages
from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.settings import DatabaseSettings, secret_from

SERVICES_FOLDER: Final = Path(__file__).parent.parent
DURABLE: Final = SERVICES_FOLDER / "runtime" / "migrations"
CONSOLE: Final = SERVICES_FOLDER / "runtime" / "consoles" / "migrations"
ENGINE: Final = SERVICES_FOLDER / "sector" / "migrations"
ENVIRONMENT: Final = SERVICES_FOLDER / "runtime" / "migration_environment"
WITHOUT_KAFKA: Final = ("audit",)
WITH_CONSOLE: Final = ("operations",)
_MARK: Final = "SELECT obj_description(to_regprocedure('prune(text,integer)'), 'pg_proc') AS mark"


class WrongSchema(Exception):
    """The database is not at the version this code needs."""


def folders(service: str) -> list[Path]:
    """Where a service's migrations lie: durable path, console, its own; sectors have the engine's."""
    durable = [] if service in WITHOUT_KAFKA else [DURABLE]
    console = [CONSOLE] if service in WITH_CONSOLE else []
    own = SERVICES_FOLDER / service / "migrations"
    return [*durable, *console, own if own.is_dir() else ENGINE]


def ages_of(service: str) -> tuple[Age, ...]:
    """How long the rows of every table of a service's database are kept; files lie beside the migrations."""
    files = [folder.with_name("ages.toml") for folder in folders(service)]
    return tuple(age for file in files for age in read_ages(file.read_text("utf-8")))


async def is_current(database: Database, service: str) -> bool:
    """Whether the database has each folder's newest revision, by which files are named, and these ages."""
    async with database.transaction() as transaction:
        exists = await transaction.rows("SELECT to_regclass('alembic_version') IS NOT NULL AS it_does")
        if not exists[0].it_does:
            return False
        rows = await transaction.rows("SELECT version_num FROM alembic_version")
        [marked] = await transaction.rows(_MARK)
    newest = {max(script.stem for script in folder.glob("*.sql")) for folder in folders(service)}
    return {row.version_num for row in rows} == newest and marked.mark == mark_of(ages_of(service))


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
    for statement in prune_function(service, ages_of(service)):
        connection.exec_driver_sql(statement)
    connection.execute(text(f'GRANT SELECT ON alembic_version TO "{service}"'))
