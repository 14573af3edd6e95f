"""The trail's way back, once its database is older than what was signed of its log.

Services keep neither salt nor tag of what they reported, and an entry is made of these. So the same entries
are had from one place alone, the database that a restore put aside; else another log begins.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import asyncpg

from deploy.local import database_copies
from deploy.local.configuration import LOG_NUMBER
from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from deploy.local.places import write_private
from deploy.local.provisioning import high_water
from deploy.local.refusals import CannotRun
from schemas.topics import SECTORS
from schemas.trail.bytes import TrailFault
from schemas.trail.notes import Checkpoint, checkpoint_text, named_key, read_size_line, signed_checkpoint
from schemas.trail.tree import EMPTY_ROOT, Tree, leaf_hash
from services.runtime.crash import crash_point
from services.runtime.durable_files import write_durably

AUDIT: Final = DATABASES["audit"]
KNOW_IT: Final = (*AUDIT.logins, *SECTORS, *(f"{sector}_vault" for sector in SECTORS))
"""The processes that are told the log's name."""
AT_ONCE: Final = 10_000
UNSIGNED_MOST: Final = 1_000
"""How many entries of one subject may be lost that nobody signed; its tags must stand in no two logs."""

_HAS_LOG: Final = "SELECT to_regclass('log_state') IS NOT NULL"
_SIGNED: Final = "SELECT size, root, note FROM checkpoint WHERE log = $1 ORDER BY size DESC LIMIT 1"
_HEAD: Final = "SELECT size, root FROM log_state WHERE log = $1"
_LEAVES: Final = """
SELECT idx, leaf FROM entry WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx"""
_COLUMNS: Final = ("log", "idx", "caller", "idem", "body", "leaf", "key", "detail_ct")
_ENTRIES: Final = f"SELECT {', '.join(_COLUMNS)} FROM entry WHERE log = $1 AND idx >= $2 AND idx < $3"  # noqa: S608
_SUBJECTS: Final = "SELECT id, owner, retention, wrapped, number FROM subject"
_ADD_SUBJECT: Final = """
INSERT INTO subject AS s (id, owner, retention, wrapped, number) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET number = greatest(s.number, excluded.number),
  wrapped = CASE WHEN excluded.wrapped = '' THEN excluded.wrapped ELSE s.wrapped END"""
_KEYS: Final = "SELECT name, wrapped FROM data_key"
_ADD_KEY: Final = """
INSERT INTO data_key AS k (name, wrapped) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET wrapped = excluded.wrapped WHERE excluded.wrapped = ''"""
_CHECKPOINTS: Final = """
SELECT log, size, root, note, signed_at FROM checkpoint WHERE log = $1 AND size > $2 AND size <= $3"""
_ADD_CHECKPOINT: Final = """
INSERT INTO checkpoint (log, size, root, note, signed_at) VALUES ($1, $2, $3, $4, $5)"""
_SET_HEAD: Final = """
UPDATE log_state SET epoch = epoch + 1, size = $2, root = $3, due_size = $4, due_root = $5 WHERE log = $1"""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What can be done about a log, and what that costs."""

    way: Literal["none", "entries", "new_log", "finish"]
    origin: str
    signed: int
    """How far it was signed, as the signer's mark or whoever checks permits knows."""
    kept: int
    """How much of it the database holds as it was signed."""
    goes_on_at: int = 0
    """Its size with the entries that were put aside."""
    mark: Checkpoint | None = None
    """The newest signed head of the database that was put aside."""


async def plan(installation: Installation) -> Recovery:
    """Look, and change nothing."""
    origin = installation.configuration.origin
    seen = _seen(installation, origin)  # in this order: while the log grows, each is behind the next
    async with installation.server.connection(AUDIT.name) as own:
        kept = await _signed(installation, own, origin)
        mark = high_water(installation)
        if mark is not None and mark.origin != origin:
            return Recovery("finish", origin, 0, 0)
        tree = Tree()
        await _grow(tree, own, origin, max(kept.size, mark.size if mark else 0))
        if kept.size > tree.size or tree.root(kept.size) != kept.root:
            kept = _nothing(origin)
        signed = max(mark.size if mark else 0, kept.size, seen)
        if mark and mark.size == signed <= tree.size and tree.root(signed) == mark.root:
            return Recovery("none", origin, signed, signed)
        aside = await _put_aside(installation)
        if aside is None:
            return Recovery("new_log", origin, signed, kept.size)
        async with installation.server.connection(aside) as other:
            newest = await _signed(installation, other, origin)
            size, root = await other.fetchrow(_HEAD, origin) or (0, EMPTY_ROOT)
            whole = Tree()
            await _grow(whole, own, origin, kept.size)
            await _grow(whole, other, origin, size)
    for known in (newest, mark):
        if known and (known.size > whole.size or whole.root(known.size) != known.root):
            return Recovery("new_log", origin, signed, kept.size)
    target = mark if mark and mark.size > newest.size else newest
    if target.size < signed:
        return Recovery("new_log", origin, signed, kept.size)
    is_whole = whole.size == size and whole.root() == root  # what waited to be signed goes on too
    return Recovery("entries", origin, signed, kept.size, size if is_whole else target.size, target)


async def put_back(installation: Installation, found: Recovery) -> None:
    """The entries that were put aside, behind those that are as they were signed; all of it or nothing."""
    origin, mark, size = found.origin, found.mark, found.goes_on_at
    aside = await _put_aside(installation)
    assert mark  # noqa: S101  what there is to put back has a head
    async with (
        installation.server.connection(AUDIT.name) as own,
        installation.server.connection(aside) as other,
        own.transaction(),
    ):
        await own.execute("SELECT FROM log_state WHERE log = $1 FOR UPDATE", origin)
        await own.execute("DELETE FROM entry WHERE log = $1 AND idx >= $2", origin, found.kept)
        for start in range(found.kept, size, AT_ONCE):
            rows = await other.fetch(_ENTRIES, origin, start, min(start + AT_ONCE, size))
            await own.copy_records_to_table("entry", records=rows, columns=_COLUMNS)
        tree = Tree()
        await _grow(tree, own, origin, size)
        if tree.size != size or tree.root(mark.size) != mark.root:
            raise CannotRun("changed_meanwhile", "The trail changed meanwhile; nothing was done. Try again.")
        await own.execute("DELETE FROM tile WHERE log = $1", origin)
        tiles = [(origin, level, number, tree.tile(level, number)) for level, number in tree.tiles_since(0)]
        await own.copy_records_to_table("tile", records=tiles)
        await _register(own, other)
        await own.execute("DELETE FROM checkpoint WHERE log = $1 AND size > $2", origin, found.kept)
        await own.executemany(_ADD_CHECKPOINT, await other.fetch(_CHECKPOINTS, origin, found.kept, mark.size))
        await own.execute(_SET_HEAD, origin, size, tree.root(), mark.size, mark.root)
        crash_point("recovery.written")
    if high_water(installation) != mark:
        await asyncio.to_thread(write_durably, installation.high_water_file, checkpoint_text(mark).encode())
    await _restart(installation, AUDIT.logins)


async def begin_log(installation: Installation, found: Recovery) -> None:
    """Another log, under the next number: subjects' counters first, then the name, which all start anew with.

    Whoever signs under the new name finds the old log's mark and halts, until that is set aside last.
    """
    number, apart = installation.configuration.log_number, found.signed - found.kept + UNSIGNED_MOST
    async with installation.server.connection(AUDIT.name) as own:
        await own.execute("UPDATE subject SET number = number + $1", apart)
    await asyncio.to_thread(write_private, installation.configuration.data / LOG_NUMBER, f"{number + 1}\n")
    crash_point("recovery.named")
    await finish(installation, found)


async def finish(installation: Installation, _: Recovery) -> None:
    """Let all that knows the log by name start with the one that is named now; the old mark stays beside."""
    await _restart(installation, KNOW_IT)
    file = installation.high_water_file
    if (mark := high_water(installation)) and mark.origin != installation.configuration.origin:
        file.replace(file.with_name(f"high_water.{mark.origin.rpartition('/')[2]}"))
    await _restart(installation, AUDIT.logins)


async def start_anew(installation: Installation, _: Recovery) -> None:
    """A new start of who writes and signs: one that halted stays halted until then.

    Before that, subjects of which no entry tells yet, and so no signed size either: a restore put them aside.
    """
    if aside := await _put_aside(installation):
        async with (
            installation.server.connection(AUDIT.name) as own,
            installation.server.connection(aside) as other,
            own.transaction(),
        ):
            await _register(own, other)
    await _restart(installation, AUDIT.logins)


DO: Final = {"none": start_anew, "entries": put_back, "new_log": begin_log, "finish": finish}
"""Way → what is done."""


async def _register(own: asyncpg.Connection, other: asyncpg.Connection) -> None:
    """Subjects and keys of another copy; what either of them erased stays erased."""
    await own.executemany(_ADD_SUBJECT, await other.fetch(_SUBJECTS))
    await own.executemany(_ADD_KEY, await other.fetch(_KEYS))


async def _restart(installation: Installation, names: Collection[str]) -> None:
    await asyncio.to_thread(database_copies.end_processes, installation, names)


async def _put_aside(installation: Installation) -> str | None:
    """The database that the last restore put aside, unless there was none or nothing in it."""
    name = database_copies.REPLACED.format(AUDIT.name)
    try:
        async with installation.server.connection(name) as other:
            return name if await other.fetchval(_HAS_LOG) else None
    except asyncpg.InvalidCatalogNameError:
        return None


async def _signed(installation: Installation, own: asyncpg.Connection, origin: str) -> Checkpoint:
    """The newest checkpoint of a database that the log's key signed; that of nothing where there is none."""
    row = await own.fetchrow(_SIGNED, origin)
    try:
        return signed_checkpoint(row["note"], named_key(installation.log_key)) if row else _nothing(origin)
    except TrailFault:
        return _nothing(origin)


def _nothing(origin: str) -> Checkpoint:
    return Checkpoint(origin, 0, EMPTY_ROOT)


async def _grow(tree: Tree, connection: asyncpg.Connection, origin: str, size: int) -> None:
    """Add leaves as far as there are some without a gap."""
    while tree.size < size:
        start = tree.size
        rows = await connection.fetch(_LEAVES, origin, start, min(start + AT_ONCE, size))
        tree.extend([leaf_hash(leaf) for at, (index, leaf) in enumerate(rows, start) if index == at])
        if tree.size < min(start + AT_ONCE, size):
            return


def _seen(installation: Installation, origin: str) -> int:
    """The largest signed size that those who check permits saw of this log."""
    files = [installation.log_size_file(sector) for sector in SECTORS]
    files += [installation.vault_folder(sector) / "log_size" for sector in SECTORS]
    told = [_size_line(file) for file in files if file.exists()]
    return max((size for log, size in told if log == origin), default=0)


def _size_line(file: Path) -> tuple[str, int]:
    try:
        return read_size_line(file.read_text("ascii"))
    except (TrailFault, UnicodeDecodeError):
        sentence = f"{file} names no log and size. Take it away if the others beside it are to be believed."
        raise CannotRun("log_size_unreadable", f"{sentence} Nothing was changed.") from None
