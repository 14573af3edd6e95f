"""Whether stored entries are what the log says they are: asked at start-up, before anything is served.

The tree decides whether the trail is sound. A damaged detail costs its own entry and is a finding.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from schemas.trail.bytes import canonical, encoded, opens
from schemas.trail.tree import HASH_BYTES, leaf_hash
from services.audit.domain.keyring import Keyring, Unreadable
from services.audit.domain.records import StoredEntry
from services.audit.domain.refusals import DetailDamaged, TrailDamaged
from services.runtime.alarms import Alarm

FINDINGS_MAX: Final = 16
"""How many damaged details are named one by one; one alarm more stands for all others."""


@dataclass(slots=True)
class Findings:
    """The entries whose details are damaged, and since when that is known."""

    _since: dict[int, datetime] = field(default_factory=dict)

    def add(self, index: int, at: datetime) -> bool:
        """Remember an entry; whether it is a new one, and among those that are named."""
        is_new = index not in self._since and len(self._since) <= FINDINGS_MAX
        if is_new:
            self._since[index] = at
        return is_new and len(self._since) <= FINDINGS_MAX

    def alarms(self) -> Iterator[Alarm]:
        """The entries in the order in which they were found."""
        for count, (index, since) in enumerate(self._since.items()):
            where = f"entry {index}" if count < FINDINGS_MAX else "more entries"
            yield Alarm("detail_damaged", where, since)


def check_entries(start: int, entries: Sequence[StoredEntry], tiles: bytes) -> list[bytes]:
    """The leaf hashes of a stretch of entries; TrailDamaged names the first that differs from its tile."""
    hashes = []
    for index, at in enumerate(range(0, len(tiles), HASH_BYTES), start=start):
        entry = entries[index - start] if index - start < len(entries) else None
        if entry is None or entry.index != index:
            raise TrailDamaged(f"entry {index}", "the entry is missing")
        hashed = leaf_hash(entry.leaf)
        if hashed != tiles[at : at + HASH_BYTES]:
            raise TrailDamaged(f"entry {index}", "the entry differs from its hash in the tile")
        hashes.append(hashed)
    return hashes


def opened_detail(entry: StoredEntry, keyring: Keyring) -> tuple[bytes, bytes, dict[str, Any]]:
    """Salt, detail and the detail's words; DetailDamaged unless they are those of the entry and its row."""
    try:
        salt, detail = keyring.opened_detail(entry)
    except Unreadable:
        raise DetailDamaged(entry.index, "the detail does not open") from None
    if not opens(entry.leaf, salt, detail):
        raise DetailDamaged(entry.index, "the detail does not belong to the entry")
    words = json.loads(detail)  # what an entry commits to was written here, so it is an object
    if entry.caller is not None and entry.caller != words.get("service"):
        raise DetailDamaged(entry.index, "the row names another caller than the detail")
    return salt, detail, words


def opening_line(entry: StoredEntry, keyring: Keyring) -> bytes:
    """One line of an export with details; an entry that does not open says so, and the export goes on."""
    try:
        salt, detail = keyring.opened_detail(entry)
    except Unreadable:
        problem = "detail_erased" if entry.is_erased else "detail_unreadable"
        return canonical({"index": entry.index, "problem": problem}) + b"\n"
    return canonical({"detail": encoded(detail), "index": entry.index, "salt": encoded(salt)}) + b"\n"
