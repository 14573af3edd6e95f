"""Whether stored entries are what the log says they are: asked at start-up, before anything is served."""

from __future__ import annotations

import json
from collections.abc import Sequence

from schemas.exact_bytes import encoded
from schemas.trail_bytes import canonical, commitment
from services.audit.domain.group import Intent
from services.audit.domain.keyring import Keyring
from services.audit.domain.records import StoredEntry
from services.audit.domain.refusals import TrailDamaged
from services.audit.domain.sealing import Unreadable
from services.audit.verifier.hashes import HASH_BYTES, leaf_hash


def check_entries(start: int, entries: Sequence[StoredEntry], tiles: bytes, keyring: Keyring) -> list[bytes]:
    """The leaf hashes of a stretch of entries; TrailDamaged names the first that differs from its tile."""
    hashes = []
    for index, at in enumerate(range(0, len(tiles), HASH_BYTES), start=start):
        entry = entries[index - start] if index - start < len(entries) else None
        if entry is None or entry.index != index:
            raise TrailDamaged(index, "the entry is missing")
        hashed = leaf_hash(entry.leaf)
        if hashed != tiles[at : at + HASH_BYTES]:
            raise TrailDamaged(index, "the entry differs from its hash in the tile")
        check_detail(entry, keyring)
        hashes.append(hashed)
    return hashes


def check_detail(entry: StoredEntry, keyring: Keyring) -> None:
    """Refuse a detail that does not open, belongs to another leaf, or names another caller than its row."""
    try:
        salt, detail = keyring.opened(entry)
    except Unreadable:
        raise TrailDamaged(entry.index, "the detail does not open") from None
    if commitment(salt, detail) != entry.leaf[20:]:
        raise TrailDamaged(entry.index, "the detail does not belong to the entry")
    service = json.loads(detail).get("service")
    if entry.caller is not None and entry.caller != service:
        raise TrailDamaged(entry.index, "the row names another caller than the detail")


def opening_line(entry: StoredEntry, keyring: Keyring) -> bytes:
    """One line of an export with details; an entry that does not open says so, and the export goes on."""
    try:
        salt, detail = keyring.opened(entry)
    except Unreadable:
        return canonical({"index": entry.index, "problem": "detail_unreadable"}) + b"\n"
    return canonical({"detail": encoded(detail), "index": entry.index, "salt": encoded(salt)}) + b"\n"


def intent_of(entry: StoredEntry, keyring: Keyring) -> Intent:
    """What an outcome needs to know of its intent."""
    try:
        detail = json.loads(keyring.opened(entry)[1])
    except Unreadable:
        raise TrailDamaged(entry.index, "the detail does not open") from None
    return Intent(entry.caller, detail["kind"], detail.get("subject"))
