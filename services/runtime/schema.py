"""Whether a database is at the schema that this code needs: services check it and never change it."""

from pathlib import Path
from typing import Final

from services.runtime.ages import Age, mark_of, read_ages
from services.runtime.database import Database

SERVICES_FOLDER: Final = Path(__file__).parent.parent
DURABLE: Final = SERVICES_FOLDER / "runtime" / "migrations"
CONSOLE: Final = SERVICES_FOLDER / "runtime" / "consoles" / "migrations"
ENGINE: Final = SERVICES_FOLDER / "sector" / "migrations"
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
