"""Checks a trail in a directory: signature, tiles, entries and, if given, details; names what fails first.

Each level of tiles is compared with the one below it and the right edge with the signed root. A wrong hash
makes everything above it wrong too, so a difference counts where it is seen lowest.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .hashes import leaf_hash
from .kit import DETAILS, Kit, Opening, read_opening
from .notes import Checkpoint, Malformed, WrongSignature
from .tiles import (
    ENTRIES,
    TILE_HASHES,
    TILE_HEIGHT,
    Tile,
    levels_of,
    read_entries,
    read_hashes,
    tiles_of_level,
)
from .tree import edge_of, folded

LEAF_PREFIX: Final = b"AAT1"
LEAF_BYTES: Final = 52
SALT_BYTES: Final = 32
_TAG: Final = slice(4, 20)
_COMMITMENT: Final = slice(20, 52)


@dataclass(frozen=True, slots=True)
class Failure:
    """The first entry that nothing vouches for, and what is wrong there."""

    index: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was checked, up to where, and what failed first."""

    checkpoint: Checkpoint | None
    key_was_pinned: bool
    details_checked: int
    tags_checked: int
    failure: Failure | None

    @property
    def is_sound(self) -> bool:
        """Whether nothing failed."""
        return self.failure is None


@dataclass(slots=True)
class Found:
    """Everything that was seen so far."""

    failures: list[Failure] = field(default_factory=list)
    details: int = 0
    tags: int = 0

    def add(self, index: int, sentence: str) -> None:
        """Remember one more failure."""
        self.failures.append(Failure(index, sentence))

    def is_clean(self, start: int, stop: int) -> bool:
        """Whether nothing failed between two entries yet."""
        return not any(start <= failure.index < stop for failure in self.failures)

    @property
    def first(self) -> Failure | None:
        """The failure at the lowest entry."""
        return min(self.failures, key=lambda failure: failure.index, default=None)


def check(kit: Kit, subject_keys: Mapping[str, bytes] | None = None) -> Verdict:
    """Check all that the directory allows; CannotLook where it holds no trail."""
    found = Found()
    checkpoint = None
    try:
        checkpoint = kit.read_checkpoint()
    except (Malformed, WrongSignature) as problem:
        found.add(0, f"The checkpoint vouches for no entry: {problem}.")
    if checkpoint is not None:
        _check_tiles(kit, checkpoint, found)
        if kit.has_details:
            _check_details(kit, checkpoint.size, subject_keys or {}, found)
    return Verdict(checkpoint, kit.pinned is not None, found.details, found.tags, found.first)


def _check_tiles(kit: Kit, checkpoint: Checkpoint, found: Found) -> None:
    """Entries against the lowest tiles, tiles against those below, the right edge against the root."""
    edges: list[list[bytes]] = []
    roots_below: list[bytes | None] = []
    for level in levels_of(checkpoint.size):
        roots: list[bytes | None] = []
        for tile in tiles_of_level(level, checkpoint.size):
            hashes = _hashes(kit, tile, found)
            if level == 0:
                _compare_entries(kit, tile, hashes, found)
            else:
                _compare_below(tile, hashes, roots_below, found)
            edge = edge_of(hashes)
            if tile.width == TILE_HASHES:
                roots.append(edge[0] if hashes else None)
            else:
                edges.append(edge)
        roots_below = roots
    top_first = [node for edge in reversed(edges) for node in edge]
    if not found.failures and folded(top_first) != checkpoint.root:
        found.add(0, "The entries do not lead to the root that the log signed.")


def _hashes(kit: Kit, tile: Tile, found: Found) -> list[bytes]:
    try:
        return read_hashes(kit.directory, tile)
    except Malformed as problem:
        found.add(tile.first_entry(), f"Its tile cannot be used: {problem}.")
        return []


def _compare_entries(kit: Kit, tile: Tile, hashes: Sequence[bytes], found: Found) -> None:
    bundle = Tile(ENTRIES, tile.number, tile.width)
    try:
        entries, ends_well = read_entries(kit.directory, bundle)
    except Malformed as problem:
        found.add(tile.first, f"Its bundle cannot be used: {problem}.")
        return
    wrong = _first_difference([leaf_hash(entry) for entry in entries], hashes)
    if wrong is not None:
        found.add(tile.first + wrong, f"The entry in {bundle.path} and its hash in {tile.path} differ.")
    elif not ends_well:
        at = tile.first + min(len(entries), tile.width - 1)
        found.add(at, f"{bundle.path} does not end where it should.")


def _first_difference(computed: Sequence[bytes], stored: Sequence[bytes]) -> int | None:
    pairs = enumerate(zip(computed, stored, strict=False))
    return next((at for at, (ours, theirs) in pairs if ours != theirs), None)


def _compare_below(tile: Tile, hashes: Sequence[bytes], roots: Sequence[bytes | None], found: Found) -> None:
    span = 1 << (TILE_HEIGHT * tile.level)
    for position, stored in enumerate(hashes):
        below, start = roots[tile.first + position], tile.first_entry(position)
        if below is not None and below != stored and found.is_clean(start, start + span):
            found.add(start, f"Its hash in {tile.path} differs from the tile below.")


def _check_details(kit: Kit, size: int, subject_keys: Mapping[str, bytes], found: Found) -> None:
    """Each detail against its entry, until one fails."""
    lines = kit.lines()
    for index, entry in enumerate(kit.entries(size)):
        line = next(lines, b"")
        try:
            found.tags += _check_detail(read_opening(line, index), entry, subject_keys)
        except Malformed as problem:
            found.add(index, f"In {DETAILS}: {problem}.")
            return
        found.details += 1
    if next(lines, None) is not None:
        found.add(max(size - 1, 0), f"{DETAILS} goes on after the last entry.")


def _check_detail(opening: Opening, entry: bytes | None, subject_keys: Mapping[str, bytes]) -> int:
    """The number of tags checked: 1 where the subject's key is at hand, else 0."""
    if entry is None or len(entry) != LEAF_BYTES or entry[:4] != LEAF_PREFIX:
        raise Malformed("its entry is no leaf of this trail")
    if len(opening.salt) != SALT_BYTES or _commitment(opening) != entry[_COMMITMENT]:
        raise Malformed("its detail does not belong to the entry")
    detail = _object(opening.detail)
    key = subject_keys.get(str(detail.get("subject")))
    if key is None:
        return 0
    if _tag(key, detail.get("n")) != entry[_TAG]:
        raise Malformed("its tag is not that of the subject and the number in its detail")
    return 1


def _commitment(opening: Opening) -> bytes:
    return hmac.digest(opening.salt, b"\x01" + opening.detail, "sha256")


def _tag(key: bytes, number: Any) -> bytes:
    if not isinstance(number, int) or not 1 <= number < 1 << 53:
        raise Malformed("its detail names a subject and no number")
    return hmac.digest(key, b"aat1/tag" + number.to_bytes(8, "big"), "sha256")[:16]


def _object(detail: bytes) -> dict[str, Any]:
    try:
        value = json.loads(detail)
    except (ValueError, RecursionError):
        raise Malformed("its detail is no JSON") from None
    if not isinstance(value, dict):
        raise Malformed("its detail is no JSON object")
    return value


def sentences(verdict: Verdict) -> Iterator[str]:
    """The verdict in words."""
    head = verdict.checkpoint
    if head is not None:
        yield f"Log {head.origin}: {head.size} entries up to the signed checkpoint of size {head.size}."
        yield f"Details opened and compared: {verdict.details_checked}; tags: {verdict.tags_checked}."
    if not verdict.key_was_pinned:
        yield "The log's key was taken from the directory itself; give the key you know with --log-key."
    if verdict.failure is None:
        yield "Sound: every entry checked is in the log exactly as the log signed it."
    else:
        yield f"Not sound. The first entry that fails is {verdict.failure.index}. {verdict.failure.sentence}"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict for machines."""
    head, failure = verdict.checkpoint, verdict.failure
    return {
        "sound": verdict.is_sound,
        "origin": head.origin if head else None,
        "size": head.size if head else None,
        "root": head.root.hex() if head else None,
        "key_was_pinned": verdict.key_was_pinned,
        "details_checked": verdict.details_checked,
        "tags_checked": verdict.tags_checked,
        "failure": {"index": failure.index, "sentence": failure.sentence} if failure else None,
    }
