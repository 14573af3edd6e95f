"""Brings a service's database to the schema its code needs, as the owner role; services only check it."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.settings import RuntimeSettings, secret_from

SERVICES_FOLDER: Final = Path(__file__).parent.parent
DURABLE: Final = SERVICES_FOLDER / "runtime" / "migrations"
ENGINE: Final = SERVICES_FOLDER / "sector" / "migrations"
ENVIRONMENT: Final = SERVICES_FOLDER / "runtime" / "migration_environment"
WITHOUT_KAFKA: Final = ("audit",)


class WrongSchema(Exception):
    """The database is not at the version this code needs."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the database of {service} has another schema; run: python -m services.{service} migrate"
        )


def folders(service: str) -> list[Path]:
    """Where a service's migrations lie: the durable path's, then its own; sectors have the engine's."""
    durable = [] if service in WITHOUT_KAFKA else [DURABLE]
    own = SERVICES_FOLDER / service / "migrations"
    return [*durable, own if own.is_dir() else ENGINE]


def heads(service: str) -> frozenset[str]:
    """The newest revision of each folder; files are named for their revisions, which are numbered."""
    return frozenset(max(file.stem for file in folder.glob("*_[0-9]*.py")) for folder in folders(service))


async def stored_heads(database: Database) -> frozenset[str]:
    """The versions that a database says it has; none in a fresh one."""
    async with database.transaction() as transaction:
        exists = await transaction.rows("SELECT to_regclass('alembic_version') IS NOT NULL AS it_does")
        if not exists[0].it_does:
            return frozenset()
        rows = await transaction.rows("SELECT version_num FROM alembic_version")
    return frozenset(row.version_num for row in rows)


async def check_schema(database: Database, service: str) -> None:
    """Raise WrongSchema unless the database is at this code's version."""
    if await stored_heads(database) != heads(service):
        raise WrongSchema(service)


async def migrate(service: str, url: str | URL) -> None:
    """Upgrade to the newest version; `url` is that of a role that may act as `<service>_owner`."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, service)
    except OSError as error:
        raise Unavailable("the database does not answer") from error
    finally:
        await engine.dispose()


async def migrate_from_environment(service: str) -> None:
    """`python -m services.<service> migrate`: with the database URL of the environment."""
    settings = RuntimeSettings.from_environment().database
    url = make_url(settings.url)
    if settings.password_file:
        url = url.set(password=secret_from(settings.password_file).get_secret_value())
    await migrate(service, url)


def _upgrade(connection: Connection, service: str) -> None:
    connection.execute(text(f'SET ROLE "{service}_owner"'))
    config = Config()
    config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option(
        "version_locations", "\n".join(str(folder).replace("%", "%%") for folder in folders(service))
    )
    config.attributes["connection"] = connection
    config.attributes["service"] = service
    command.upgrade(config, "heads")
    connection.execute(text(f'GRANT SELECT ON alembic_version TO "{service}"'))
