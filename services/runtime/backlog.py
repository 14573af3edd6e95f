"""What waits in a service's database: events to be sent, and records that nobody could use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.runtime.alarms import Alarm
from services.runtime.database import Database

COUNTED_MAX: Final = 10_000
"""How many rows are counted one by one; what is more is told as so many."""
OUTBOX_WAITS_SECONDS: Final = 30.0
"""An event that waits for longer is an alarm: the relay sends within milliseconds."""

_OUTBOX: Final = """
SELECT shard, created_at, greatest(0, extract(epoch FROM now() - created_at))::float8 AS seconds,
       (SELECT max(id) FROM outbox) - id + 1 AS span,
       (SELECT count(*) FROM (SELECT id FROM outbox ORDER BY id LIMIT :counted_max) o) AS pending
FROM outbox ORDER BY id LIMIT 1"""
_SPAN: Final = "SELECT coalesce(max(id) - min(id) + 1, 0) AS span FROM outbox"
_OVER: Final = "SELECT 1 FROM outbox ORDER BY id OFFSET :below LIMIT 1"
_LETTERS: Final = """
SELECT reason, count(*) AS letters, min(first_at) AS since,
       greatest(0, extract(epoch FROM now() - min(first_at)))::float8 AS seconds
FROM (SELECT reason, first_at FROM dead_letter WHERE state = 'waiting' LIMIT :counted_max) d
GROUP BY reason ORDER BY reason"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits, and since when."""

    pending: int = 0
    """At most `COUNTED_MAX`."""
    oldest_seconds: float = 0.0
    is_full: bool = False
    """Whether the outbox has reached its guard."""
    letters: Mapping[str, int] | None = None
    """Dead letters by reason; None in a service that reads nothing."""
    letter_seconds: Mapping[str, float] | None = None
    """How long the oldest of each reason waits."""
    alarms: Sequence[Alarm] = ()


async def is_outbox_full(database: Database, rows_max: int) -> bool:
    """Whether so many events wait to be sent."""
    async with database.transaction() as transaction:
        [found] = await transaction.rows(_SPAN)
        # Ids are handed out once, so the outbox cannot hold more rows than its ids span.
        return found.span >= rows_max and bool(await transaction.rows(_OVER, below=rows_max - 1))


async def read_backlog(database: Database, *, outbox_rows_max: int) -> Backlog:
    """Ask the database; the work is bounded, however much waits."""
    async with database.transaction() as transaction:
        oldest = await transaction.rows(_OUTBOX, counted_max=COUNTED_MAX)
        # Ids are handed out once, so the outbox cannot hold more rows than its ids span.
        may_be_full = bool(oldest) and oldest[0].span >= outbox_rows_max
        is_full = may_be_full and bool(await transaction.rows(_OVER, below=outbox_rows_max - 1))
        letters = await transaction.rows(_LETTERS, counted_max=COUNTED_MAX)
    alarms = [Alarm("dead_letters", f"{row.reason} ({row.letters})", row.since) for row in letters]
    if oldest and oldest[0].seconds >= OUTBOX_WAITS_SECONDS:
        alarms.append(Alarm("outbox_waits", f"shard {oldest[0].shard}", oldest[0].created_at))
    return Backlog(
        oldest[0].pending if oldest else 0,
        oldest[0].seconds if oldest else 0.0,
        is_full,
        {row.reason: row.letters for row in letters},
        {row.reason: row.seconds for row in letters},
        alarms,
    )
