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

from services.runtime.ages import prune_function
from services.runtime.errors import Unavailable
from services.runtime.schema import SERVICES_FOLDER, ages_of, folders
from services.runtime.settings import DatabaseSettings, secret_from

ENVIRONMENT: Final = SERVICES_FOLDER / "runtime" / "migration_environment"


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
