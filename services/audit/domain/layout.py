"""The static layout that is published (C2SP tlog-tiles): what a path below `tile/` names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.audit.domain.tree import TILE_HASHES, TILE_HEIGHT

_PATH: Final = re.compile(
    r"(?P<level>[0-9]|entries)/(?P<number>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One tile of hashes, or one bundle of entries."""

    is_bundle: bool
    level: int
    number: int
    width: int

    @property
    def first(self) -> int:
        """Index of its first hash or entry within the level."""
        return self.number * TILE_HASHES

    def is_within(self, size: int) -> bool:
        """Whether a log of this size has it."""
        return self.first + self.width <= size >> (TILE_HEIGHT * self.level)


def wanted(path: str) -> Wanted | None:
    """What a path names; None for any other spelling."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    groups = match["number"].replace("x", "").split("/")
    width = int(match["width"]) if match["width"] else TILE_HASHES
    has_leading_zeros = groups[0] == "000" and len(groups) > 1
    if has_leading_zeros or width > TILE_HASHES or match["width"] == str(TILE_HASHES):
        return None
    is_bundle = match["level"] == "entries"
    return Wanted(is_bundle, 0 if is_bundle else int(match["level"]), int("".join(groups)), width)


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle: each behind its length."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
