"""`concert dead-letters list|discard`: the records that services set aside, for as long as nobody looked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import asyncpg
import typer

from deploy.local.databases import DATABASES
from schemas.topics import TOPICS
from services.cli.installed import DataDirectory, installed
from services.cli.talk import CONFLICT, AsJson, check_choices, command, fail, say, show
from services.runtime.errors import Unavailable

app = typer.Typer(no_args_is_help=True, help="Records that were set aside.")

READERS: Final = tuple(sorted({reader for topic in TOPICS for reader in topic.readers}))
_LIST: Final = """
SELECT topic, part AS partition, reason, count(*) AS count,
       to_char(min(first_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
FROM dead_letter WHERE state = 'waiting' GROUP BY topic, part, reason ORDER BY topic, part, reason"""
_DISCARD: Final = """
UPDATE dead_letter SET state = 'discarded' WHERE state = 'waiting' AND reason = $1"""
NAMES: Final = ("service", "topic", "partition", "reason", "count", "since")


@app.command("list", short_help="Count what was set aside and waits for a person.")
def list_letters(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert dead-letters list`, `concert dead-letters list --json`.

    Counts what was set aside and still waits for a person, by service, partition and reason.
    """
    rows = asyncio.run(_waiting(data))
    show(rows, ["\t".join(str(row[name]) for name in NAMES) for row in rows], as_json=as_json)
    if rows:
        following = command("dead-letters discard SERVICE REASON --confirm COUNT", data)
        say(f"Next: mend the sender or the reader, then {following}.")


@app.command("discard", short_help="Say that those of one reason are not needed.")
def discard(
    service: Annotated[str, typer.Argument(help=f"One of: {', '.join(READERS)}.")],
    reason: Annotated[str, typer.Argument(help="A reason that `list` shows.")],
    confirm: Annotated[int, typer.Option(help="How many there are, as `list` counts them.")],
    data: DataDirectory = None,
) -> None:
    """Example: `concert dead-letters discard referrals bad_json --confirm 3`.

    Ends the alarm: they are not needed. Their bytes stay; exit 5 where there are more or fewer by now.
    """
    check_choices([service], READERS, "SERVICE")
    asyncio.run(_discard(data, service, reason, confirm))
    say(f"{confirm} discarded. Next: {command('status', data)}.")


async def _waiting(data: Path | None) -> list[dict[str, Any]]:
    rows = []
    for service in READERS:
        async with _database_of(service, data) as connection:
            rows += [{"service": service, **row} for row in await connection.fetch(_LIST)]
    return rows


async def _discard(data: Path | None, service: str, reason: str, confirm: int) -> None:
    """All of them, if they are as many as was said."""
    async with _database_of(service, data) as connection, connection.transaction():
        found = int((await connection.execute(_DISCARD, reason)).removeprefix("UPDATE "))
        if found != confirm:  # raises, so that the transaction rolls back
            fail(f"{found} wait there, not {confirm}; nothing was changed.", CONFLICT)


@asynccontextmanager
async def _database_of(service: str, data: Path | None) -> AsyncIterator[Any]:
    try:
        async with installed(data).server.connection(DATABASES[service].name) as connection:
            yield connection
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable("the database does not answer; try again") from error
