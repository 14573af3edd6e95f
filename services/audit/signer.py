"""The signer: signs the size that is due, once a second while the log grows, and only what it saw grow.

It keeps the last head it signed in a file of its own, outside the database, written before each signature. A
database that is behind that file, or holds another tree, was restored or edited: the signer halts, for
signing again would be a second history. One process signs; another stands by, with the same file.
"""

import asyncio
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from schemas.trail.bytes import TrailFault
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, read_checkpoint, signed_note
from schemas.trail.tree import EMPTY_ROOT, HASH_BYTES, TILE_HASHES, Tree
from services.audit.domain.records import StoredCheckpoint
from services.audit.lead import SIGNER_LOCK, Lead
from services.audit.store import LogDatabase, TrailStore
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.crash import crash_point
from services.runtime.durable_files import write_durably
from services.runtime.errors import Unavailable
from services.runtime.logs import log

TILE_BYTES: Final = TILE_HASHES * HASH_BYTES
BEHIND: Final = "the database is behind what was signed"


class SignerHalted(Exception):
    """The database does not hold the tree that was signed: a person must look."""


@dataclass(frozen=True, slots=True)
class HighWater:
    """The file with the last head that was signed."""

    path: Path

    def read(self) -> Checkpoint | None:
        """The head, or None before the first; SignerHalted where the file says anything else."""
        try:
            return read_checkpoint(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (TrailFault, UnicodeDecodeError):
            raise SignerHalted("the high-water file cannot be read") from None

    def write(self, head: Checkpoint) -> None:
        """Replace the head, never by an older one; when this returns, a power cut cannot take it back."""
        with self.path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable("another signer writes the mark") from None
            before = self.read()
            if before is not None and before.size > head.size:  # it was stopped, and another signed on
                raise Unavailable("another signer is further")
            write_durably(self.path, checkpoint_text(head).encode())


class CheckpointSigner:
    """Signs one log's checkpoints."""

    def __init__(self, ledger: LogDatabase, signer: Signer, high_water: HighWater, clock: Clock) -> None:
        self._lead = Lead(ledger, SIGNER_LOCK)
        self._open_store = partial(ledger.open, singly=True)
        self._signer = signer
        self._high_water = high_water
        self._clock = clock
        self._tree: Tree | None = None
        self._signed = Checkpoint(signer.name, 0, EMPTY_ROOT)
        self._halt: Alarm | None = None

    async def sweep(self) -> bool:
        """Sign the size that is due, if one is, and if no other process is the signer."""
        if self._halt is not None:
            raise SignerHalted(self._halt.where)
        if not self._lead.is_held:
            self._tree, self._signed = None, Checkpoint(self._signer.name, 0, EMPTY_ROOT)
            if not await self._lead.take():
                return False
        try:
            await self._sign_due()
        except SignerHalted as halted:
            self._halt = Alarm("signer_halted", str(halted), self._clock.now())
            log().error("signer_halted", state=str(halted))
            raise
        return False

    async def tick(self) -> bool:
        """Show that the signer lives."""
        if self._lead.is_held:
            await self._lead.beat()
        return False

    async def close(self) -> None:
        """Let another sign."""
        await self._lead.give_up()

    def alarms(self) -> Iterator[Alarm]:
        """The halt, with what was found."""
        if self._halt is not None:
            yield self._halt

    def why_halted(self) -> str | None:
        """Why this process is not ready: once halted it signs nothing more."""
        return self._halt.rule if self._halt is not None else None

    async def _sign_due(self) -> None:
        async with self._open_store() as store:
            due = await store.due()
            if due is None:
                return
            if self._tree is None:
                self._tree = await self._begin(store, due[0])
        size, root = due
        if size < self._signed.size:
            raise SignerHalted(BEHIND)
        if size == self._signed.size:
            if root != self._signed.root:
                raise SignerHalted("the database holds another tree than the one that was signed")
            return
        async with self._open_store() as store:
            await _read_tiles(store, self._tree, size)
        if self._tree.root(size) != root:
            raise SignerHalted("the tiles do not lead to the root that is due")
        await self._sign(Checkpoint(self._signer.name, size, root))

    async def _begin(self, store: TrailStore, due_size: int) -> Tree:
        """Find where the last run ended; the tree up to there must still be the one that was signed."""
        head = self._high_water.read()
        if head is None:
            if await store.newest_checkpoint() is not None:
                raise SignerHalted("the database holds checkpoints, the high-water file does not exist")
            head = self._signed
        if head.origin != self._signer.name or head.size > due_size:
            raise SignerHalted(BEHIND)
        tree = Tree()
        await _read_tiles(store, tree, head.size)
        if tree.root() != head.root:
            raise SignerHalted("the database holds another tree than the one that was signed")
        await self._sign(head)  # the last run may have ended between file and database
        return tree

    async def _sign(self, head: Checkpoint) -> None:
        """The order is the promise: what was signed is on disk here before anybody can see the signature."""
        await self._lead.beat()  # one that was stopped leads no more
        self._high_water.write(head)
        crash_point("signer.remembered")  # the same head is signed again, with the same bytes
        note = signed_note(checkpoint_text(head), self._signer)
        async with self._open_store() as store:
            await store.add_checkpoint(StoredCheckpoint(head.size, head.root, note))
        crash_point("signer.signed")
        self._signed = head


async def _read_tiles(store: TrailStore, tree: Tree, size: int) -> None:
    """Add the leaf hashes up to a size; those that are known already must not have changed."""
    first = tree.size // TILE_HASHES
    tiles = await store.tiles(0, first, -(-size // TILE_HASHES))
    hashes = b"".join(tiles)[: (size - first * TILE_HASHES) * HASH_BYTES]
    known = tree.tile(0, first)
    if not hashes.startswith(known):
        raise SignerHalted("a tile that was signed has changed")
    for start in range(len(known), len(hashes), TILE_BYTES):
        part = hashes[start : start + TILE_BYTES]
        tree.extend([part[at : at + HASH_BYTES] for at in range(0, len(part), HASH_BYTES)])
        await asyncio.sleep(0)  # a long log must not keep the signer from showing that it lives
    if tree.size != size:
        raise SignerHalted("a tile is missing")
