"""The trail in PostgreSQL: entries, tiles and head grow through one function; everything else is read."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from schemas.trail.tree import EMPTY_ROOT
from services.audit.domain.group import Group
from services.audit.domain.records import Head, StoredCheckpoint, StoredEntry, StoredSubject
from services.runtime.database import Database
from services.runtime.transaction import Row, Transaction, columns

_APPEND: Final = """
SELECT append_entries(
  :log, :size, :epoch, :root, :is_due,
  CAST(:caller AS text[]), CAST(:idem AS bytea[]), CAST(:body AS bytea[]), CAST(:leaf AS bytea[]),
  CAST(:key AS text[]), CAST(:sealed AS bytea[]), CAST(:subjects AS text[]), CAST(:numbers AS bigint[]),
  CAST(:levels AS int[]), CAST(:tiles AS bigint[]), CAST(:hashes AS bytea[])) AS appended"""

_KNOWN: Final = """
SELECT e.caller, e.idem, e.idx, e.body
FROM unnest(CAST(:callers AS text[]), CAST(:idems AS bytea[])) AS w(caller, idem)
CROSS JOIN LATERAL (
  SELECT caller, idem, idx, body FROM entry
  WHERE log = :log AND caller = w.caller AND idem = w.idem OFFSET 0) e"""
"""The offset: planned over a log that is still empty, a plain join reads all of it for each group."""

_ENTRY: Final = """
SELECT e.idx, e.caller, e.leaf, e.key, k.wrapped, e.detail_ct
FROM entry e LEFT JOIN data_key k ON k.name = e.key
WHERE e.log = :log AND """

UNTAGGED_MAX: Final = 1_000
_TILES: Final = """
SELECT hashes FROM tile
WHERE log = :log AND level = :level AND number >= :start AND number < :stop ORDER BY number"""

_SUBJECTS: Final = """
SELECT s.id, s.owner, s.number, s.wrapped, k.wrapped AS data_key
FROM subject s LEFT JOIN data_key k ON k.name = s.id
WHERE s.id = ANY(CAST(:ids AS text[]))"""


class TrailStore:
    """One log's rows, within one transaction; a process may do what its database role may."""

    def __init__(self, transaction: Transaction, log: str) -> None:
        self._transaction = transaction
        self._log = log

    async def take_lead(self) -> Head:
        """Begin a new epoch; the head, from which this process alone may go on."""
        rows = await self._rows("SELECT * FROM take_lead(:log, :root)", root=EMPTY_ROOT)
        return Head(rows[0].size, rows[0].root, rows[0].epoch, rows[0].due_size)

    async def append(
        self, head: Head, group: Group, root: bytes, tiles: Sequence[tuple[int, int, bytes]], *, is_due: bool
    ) -> bool:
        """Add one group behind the head; false, and nothing added, where the head is no longer this one."""
        found = await self._rows(
            _APPEND,
            size=head.size,
            epoch=head.epoch,
            root=root,
            is_due=is_due,
            subjects=list(group.numbers),
            numbers=list(group.numbers.values()),
            levels=[level for level, _, _ in tiles],
            tiles=[number for _, number, _ in tiles],
            hashes=[hashes for _, _, hashes in tiles],
            **columns(group.entries, "caller", "idem", "body", "leaf", "key", "sealed"),
        )
        return bool(found[0].appended)

    async def known(self, asked: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], tuple[int, bytes]]:
        """Caller and idem → where that request was recorded before, and its body."""
        callers, idems = [caller for caller, _ in asked], [idem for _, idem in asked]
        rows = await self._rows(_KNOWN, callers=callers, idems=idems)
        return {(row.caller, row.idem): (row.idx, row.body) for row in rows}

    async def entries(self, start: int, stop: int) -> list[StoredEntry]:
        """Entries in order, from one index to before another."""
        return await self._entries("e.idx >= :start AND e.idx < :stop ORDER BY e.idx", start=start, stop=stop)

    async def entries_at(self, indices: Collection[int]) -> list[StoredEntry]:
        """The entries with these indices."""
        return await self._entries("e.idx = ANY(CAST(:indices AS bigint[]))", indices=list(indices))

    async def untagged(self, caller: str, start: int) -> list[StoredEntry]:
        """The next entries of a caller that are about no subject, in order."""
        condition = f"""e.caller = :caller AND e.idx >= :start AND strpos(e.key, '/') > 0
ORDER BY e.idx LIMIT {UNTAGGED_MAX}"""
        return await self._entries(condition, caller=caller, start=start)

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """The public bytes of entries, in order."""
        sql = "SELECT leaf FROM entry WHERE log = :log AND idx >= :start AND idx < :stop ORDER BY idx"
        return [row.leaf for row in await self._rows(sql, start=start, stop=stop)]

    async def tiles(self, level: int, start: int, stop: int) -> list[bytes]:
        """The tiles of a level as far as they are filled, from one number to before another."""
        return [row.hashes for row in await self._rows(_TILES, level=level, start=start, stop=stop)]

    async def due(self) -> tuple[int, bytes] | None:
        """Size and root that wait to be signed."""
        rows = await self._rows("SELECT due_size, due_root FROM log_state WHERE log = :log")
        return (rows[0].due_size, rows[0].due_root) if rows else None

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        """The checkpoint of the largest size."""
        sql = """SELECT size, root, note, signed_at FROM checkpoint
                 WHERE log = :log ORDER BY size DESC LIMIT 1"""
        rows = await self._rows(sql)
        return StoredCheckpoint(*tuple(rows[0])) if rows else None

    async def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Store a signed checkpoint; the same one twice is one."""
        sql = """INSERT INTO checkpoint (log, size, root, note) VALUES (:log, :size, :root, :note)
                 ON CONFLICT (log, size) DO NOTHING"""
        await self._transaction.run(
            sql, log=self._log, size=checkpoint.size, root=checkpoint.root, note=checkpoint.note
        )

    async def erase_subject(self, subject: str) -> None:
        """Destroy a subject's keys."""
        await self._transaction.run("SELECT erase_subject(:id)", id=subject)

    async def subjects(self, ids: Collection[str]) -> dict[str, StoredSubject]:
        """The registered ones among these subjects."""
        rows = await self._transaction.rows(_SUBJECTS, ids=sorted(ids))
        return {row.id: StoredSubject(*tuple(row)) for row in rows}

    async def add_subject(self, subject: str, owner: str, retention: str, wrapped: bytes) -> bool:
        """Register a subject; false where it is registered already."""
        sql = """INSERT INTO subject (id, owner, retention, wrapped)
                 VALUES (:id, :owner, :retention, :wrapped) ON CONFLICT (id) DO NOTHING RETURNING id"""
        values = {"id": subject, "owner": owner, "retention": retention, "wrapped": wrapped}
        return bool(await self._transaction.rows(sql, **values))

    async def add_data_key(self, name: str, wrapped: bytes) -> None:
        """Keep a new wrapped key; one that is there already stays."""
        sql = "INSERT INTO data_key (name, wrapped) VALUES (:name, :wrapped) ON CONFLICT (name) DO NOTHING"
        await self._transaction.run(sql, name=name, wrapped=wrapped)

    async def _entries(self, condition: str, **parameters: Any) -> list[StoredEntry]:
        return [StoredEntry(*tuple(row)) for row in await self._rows(_ENTRY + condition, **parameters)]

    async def _rows(self, sql: str, **parameters: Any) -> Sequence[Row]:
        return await self._transaction.rows(sql, log=self._log, **parameters)


@dataclass(frozen=True, slots=True)
class LogDatabase:
    """One log in one database; its methods raise Unavailable when that does not answer."""

    database: Database
    log: str

    @asynccontextmanager
    async def open(self, *, singly: bool = False, log: str | None = None) -> AsyncIterator[TrailStore]:
        """One transaction over the log's rows, or those of a `log` before it; where `singly`, one for each
        statement."""
        async with self.database.transaction(singly=singly) as transaction:
            yield TrailStore(transaction, log or self.log)

    async def close(self) -> None:
        """Close every connection."""
        await self.database.close()
