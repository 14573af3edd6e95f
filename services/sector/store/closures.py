"""The ledger of what is closed, in PostgreSQL; what each method promises, its Protocol says."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from schemas.events.consent import Closure
from services.runtime.transaction import Transaction, columns
from services.sector.domain.closures import TASK, Task
from services.sector.handlers.work import Closures

LOCK_CLASS: Final = 7_300
"""The advisory lock under which the ledger grows: numbers follow one another without a gap."""

_LOCK: Final = f"SELECT pg_advisory_xact_lock({LOCK_CLASS}, 0)"
_FEED_ALONE: Final = f"SELECT pg_advisory_xact_lock({LOCK_CLASS}, 1)"
_ADD: Final = """
INSERT INTO closure (n, kind, id, recorded_at, task)
SELECT (SELECT coalesce(max(n), 0) + 1 FROM closure), :kind, CAST(:id AS text), :at,
  CAST(CAST(:task AS text) AS jsonb)
WHERE NOT EXISTS (SELECT FROM closure WHERE id = :id) RETURNING n, kind, id"""
_TASK: Final = "SELECT CAST(task AS text) AS task FROM closure WHERE id = :id"
_CLOSED: Final = "SELECT id FROM closure WHERE id = ANY(CAST(:ids AS text[]))"
_COMPLETE: Final = """
UPDATE closure SET task = NULL, done_at = :at WHERE id = :id AND done_at IS NULL RETURNING n"""
_UNDONE: Final = """
SELECT id, CAST(task AS text) AS task FROM closure
WHERE done_at IS NULL AND recorded_at <= :before ORDER BY recorded_at LIMIT :limit"""
_AFTER: Final = "SELECT n, kind, id FROM closure WHERE n > :n ORDER BY n LIMIT :limit"
_RESTORE: Final = """
INSERT INTO closure (n, kind, id, recorded_at, task, done_at)
SELECT r.n, r.kind, r.id, :at, CASE WHEN c.id IS NOT NULL THEN jsonb_build_object(
    'kind', 'erasure', 'case', c.id, 'agency', c.agency, 'duty', 'ledger',
    'actor', jsonb_build_object('client', 'ledger')) END,
  CASE WHEN c.id IS NULL THEN CAST(:at AS timestamptz) END
FROM unnest(CAST(:n AS bigint[]), CAST(:kind AS text[]), CAST(:id AS text[])) AS r (n, kind, id)
LEFT JOIN packet p ON p.keyset = r.id LEFT JOIN case_file c ON c.id = p.case_id
ON CONFLICT (id) DO NOTHING"""
_LAST: Final = "SELECT coalesce(max(n), 0) AS n FROM closure"


class ClosureStore(Closures):
    """The ledger; it is appended to and never altered, but for what is left to do."""

    def __init__(self, transaction: Transaction, wake: Callable[[], None]) -> None:
        """`wake` is called after a commit that made the ledger longer."""
        self._transaction = transaction
        self._wake = wake

    async def add(self, kind: str, closed: str, task: Task, at: datetime) -> Closure | None:
        await self._transaction.run(_LOCK)  # by itself, so that the next statement sees who was first
        rows = await self._transaction.rows(_ADD, kind=kind, id=closed, task=task.model_dump_json(), at=at)
        if not rows:
            return None
        self._transaction.after_commit.append(self._wake)
        return Closure(n=rows[0].n, kind=rows[0].kind, id=rows[0].id)

    async def task(self, closed: str) -> Task | None:
        for row in await self._transaction.rows(_TASK, id=closed):
            return TASK.validate_json(row.task) if row.task else None
        return None

    async def closed_among(self, ids: Collection[str]) -> frozenset[str]:
        return frozenset(row.id for row in await self._transaction.rows(_CLOSED, ids=list(ids)))

    async def complete(self, closed: str, at: datetime) -> bool:
        return bool(await self._transaction.rows(_COMPLETE, id=closed, at=at))

    async def undone(self, before: datetime, limit: int) -> Sequence[tuple[str, Task]]:
        rows = await self._transaction.rows(_UNDONE, before=before, limit=limit)
        return [(row.id, TASK.validate_json(row.task)) for row in rows]

    async def after(self, n: int, limit: int) -> Sequence[Closure]:
        rows = await self._transaction.rows(_AFTER, n=n, limit=limit)
        return [Closure(n=row.n, kind=row.kind, id=row.id) for row in rows]

    async def last(self) -> int:
        return int((await self._transaction.rows(_LAST))[0].n)

    async def feed_alone(self) -> None:
        await self._transaction.run(_FEED_ALONE)

    async def restore(self, rows: Sequence[Closure], at: datetime) -> None:
        await self._transaction.run(_LOCK)
        await self._transaction.run(_RESTORE, at=at, **columns(rows, "n", "kind", "id"))
