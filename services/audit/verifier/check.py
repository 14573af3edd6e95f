"""Checks a trail in a directory: signature, tiles, entries and, if given, details; names what fails first.

Each level of tiles is compared with the one below it and the right edge with the signed root. A wrong hash
makes everything above it wrong too, so a difference counts where it is seen lowest. Nothing is read behind
the first entry that fails: the work is bounded by what the directory holds, whatever size it claims.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.trail.bytes import TrailFault, is_counter, json_object, opens, tag, tag_of
from schemas.trail.notes import Checkpoint
from schemas.trail.tiles import ENTRIES, Tile, levels_of, tiles_of_level
from schemas.trail.tree import TILE_HASHES, edge_of, folded, leaf_hash
from services.audit.verifier.kit import DETAILS, Kit, read_opening

NAMED_MAX: Final = 20
"""How many bad details are named one by one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The first entry that nothing vouches for, if that can be known, and what is wrong."""

    index: int | None
    sentence: str


@dataclass(slots=True)
class Verdict:
    """What was checked, up to where, and what failed at the lowest entry."""

    key_was_pinned: bool
    checkpoint: Checkpoint | None = None
    details_checked: int = 0
    details_erased: int = 0
    tags_checked: int = 0
    bad_details: int = 0
    bad_named: list[int] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing failed."""
        return self.failure is None

    @property
    def end(self) -> float:
        """The first entry that fails; there is nothing to look for from there on."""
        return math.inf if self.failure is None or self.failure.index is None else self.failure.index

    def add(self, index: int | None, sentence: str) -> None:
        """Remember a failure if it is the first; one at no known entry comes after all others."""
        if self.failure is None or (index is not None and index < self.end):
            self.failure = Failure(index, sentence)

    def add_detail(self, index: int, sentence: str) -> None:
        """Remember a detail that is not its entry's."""
        self.add(index, sentence)
        self.bad_details += 1
        if len(self.bad_named) < NAMED_MAX:
            self.bad_named.append(index)


def check(kit: Kit, subject_keys: Mapping[str, bytes] | None = None) -> Verdict:
    """Check all that the directory allows; CannotLook where it holds no trail."""
    verdict = Verdict(kit.pinned is not None)
    try:
        checkpoint = verdict.checkpoint = kit.read_checkpoint()
    except TrailFault as problem:
        verdict.add(None, f"The checkpoint vouches for no entry: {problem}.")
        return verdict
    _check_tiles(kit, checkpoint, verdict)
    if kit.has_details:
        _check_details(kit, checkpoint.size, subject_keys or {}, verdict)
    return verdict


def sentences(verdict: Verdict) -> Iterator[str]:
    """The verdict in words."""
    head = verdict.checkpoint
    if head is not None:
        yield f"Log {head.origin}: {head.size} entries up to the signed checkpoint of size {head.size}."
        yield f"Details opened and compared: {verdict.details_checked}; tags: {verdict.tags_checked}."
    if verdict.details_erased:
        yield f"Details whose keys were destroyed with their subjects: {verdict.details_erased}."
    if verdict.bad_details:
        named = ", ".join(map(str, verdict.bad_named))
        yield f"Details that are not those of their entries: {verdict.bad_details}; the first: {named}."
    if verdict.failure is not None:
        index = verdict.failure.index
        first = "" if index is None else f" The first entry that fails is {index}."
        yield f"Not sound.{first} {verdict.failure.sentence}"
    elif verdict.key_was_pinned:
        yield "Sound: every entry checked is in the log exactly as the log signed it."
    else:
        yield (
            "Consistent, and no more: the key came with the directory, so whoever made it may have signed "
            "it. Give the log's key, known from elsewhere, with --log-key."
        )


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
        "details_erased": verdict.details_erased,
        "bad_details": {"count": verdict.bad_details, "first": list(verdict.bad_named)},
        "failure": {"index": failure.index, "sentence": failure.sentence} if failure else None,
    }


def _check_tiles(kit: Kit, checkpoint: Checkpoint, verdict: Verdict) -> None:
    """Entries against the lowest tiles, tiles against those below, the right edge against the root."""
    edges: list[list[bytes]] = []
    roots_below: list[bytes] = []
    for level in levels_of(checkpoint.size):
        roots: list[bytes] = []
        for tile in tiles_of_level(level, checkpoint.size):
            if tile.first_entry() >= verdict.end:
                break
            hashes = _hashes(kit, tile, verdict)
            if level == 0:
                _compare_entries(kit, tile, hashes, verdict)
            else:
                _compare_below(tile, hashes, roots_below, verdict)
            edge = edge_of(hashes)
            if tile.width == TILE_HASHES:
                roots += edge  # one root, or none where the tile cannot be used: then this level ends here
            else:
                edges.append(edge)
        roots_below = roots
    top_first = [node for edge in reversed(edges) for node in edge]
    if verdict.failure is None and folded(top_first) != checkpoint.root:
        verdict.add(None, "The entries do not lead to the root that the log signed.")


def _hashes(kit: Kit, tile: Tile, verdict: Verdict) -> list[bytes]:
    try:
        return kit.read_hashes(tile)
    except TrailFault as problem:
        verdict.add(tile.first_entry(), f"Its tile cannot be used: {problem}.")
        return []


def _compare_entries(kit: Kit, tile: Tile, hashes: Sequence[bytes], verdict: Verdict) -> None:
    bundle = Tile(ENTRIES, tile.number, tile.width)
    try:
        entries, ends_well = kit.read_entries(bundle)
    except TrailFault as problem:
        verdict.add(tile.first, f"Its bundle cannot be used: {problem}.")
        return
    wrong = _first_difference([leaf_hash(entry) for entry in entries], hashes)
    if wrong is not None:
        verdict.add(tile.first + wrong, f"The entry in {bundle.path} and its hash in {tile.path} differ.")
    elif len(entries) < tile.width:
        verdict.add(tile.first + len(entries), f"{bundle.path} ends before it.")
    elif not ends_well:
        verdict.add(None, f"{bundle.path} goes on after its last entry.")


def _first_difference(computed: Sequence[bytes], stored: Sequence[bytes]) -> int | None:
    pairs = enumerate(zip(computed, stored, strict=False))
    return next((at for at, (ours, theirs) in pairs if ours != theirs), None)


def _compare_below(tile: Tile, hashes: Sequence[bytes], roots: Sequence[bytes], verdict: Verdict) -> None:
    """Against the roots below, as far as they are known; `Verdict` keeps what fails lowest."""
    wrong = _first_difference(roots[tile.first : tile.first + len(hashes)], hashes)
    if wrong is not None and tile.first_entry(wrong + 1) <= verdict.end:
        verdict.add(tile.first_entry(wrong), f"Its hash in {tile.path} differs from the tile below.")


def _check_details(kit: Kit, size: int, subject_keys: Mapping[str, bytes], verdict: Verdict) -> None:
    """Each detail against its entry; one that fails ends nothing, as no other rests on it."""
    lines, end, accounted = kit.lines(), verdict.end, 0
    try:
        for index, entry in enumerate(kit.entries(size)):
            if index >= end:
                return  # nothing vouches for this entry, whatever its detail says
            line = next(lines, None)
            if line is None or not line.endswith(b"\n"):
                verdict.add_detail(index, f"{DETAILS} ends before it or goes on without an end.")
                return
            try:
                opening = read_opening(line, index)
                if opening is None:
                    verdict.details_erased += 1
                    continue
                words, tags = _check_detail(entry, *opening, subject_keys)
                verdict.tags_checked += tags
                verdict.details_checked += 1
                accounted += words["entries"] if words.get("kind") == "erasure" else 0
            except TrailFault as problem:
                verdict.add_detail(index, f"In {DETAILS}: {problem}.")
        if verdict.details_erased > accounted:
            sentence = "More details were destroyed than the log's own erasures account for"
            verdict.add(None, f"{sentence}; see those of the log that follows it, if one does.")
        if next(lines, None) is not None:
            verdict.add(None, f"{DETAILS} goes on after the last entry.")
    except TrailFault as problem:
        verdict.add(None, f"The details cannot be used: {problem}.")


def _check_detail(
    entry: bytes | None, detail: bytes, salt: bytes, subject_keys: Mapping[str, bytes]
) -> tuple[dict[str, Any], int]:
    """Its words, and the number of tags checked: 1 where the subject's key is at hand, else 0."""
    if entry is None or not opens(entry, salt, detail):
        raise TrailFault("its detail does not belong to the entry")
    words = json_object(detail)
    subject, number = words.get("subject"), words.get("n")
    key = subject_keys.get(subject) if isinstance(subject, str) else None
    if key is None:
        return words, 0
    if not is_counter(number) or tag(key, number) != tag_of(entry):
        raise TrailFault("its tag is not that of the subject and the number in its detail")
    return words, 1
