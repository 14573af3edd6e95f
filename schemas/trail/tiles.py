"""The static layout of a log (C2SP tlog-tiles): which files a size has, and what a path names."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.trail.tree import TILE_HASHES, TILE_HEIGHT

ENTRIES: Final = -1
"""The level under which bundles of entries are named."""
_PATH: Final = re.compile(
    r"tile/(?P<level>[0-9]|entries)/(?P<number>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: `width` hashes of a level, or as many entries."""

    level: int
    number: int
    width: int

    @property
    def first(self) -> int:
        """Index of its first hash or entry within the level."""
        return self.number * TILE_HASHES

    @property
    def path(self) -> str:
        """Where the tile stands: its number in groups of three digits, all but the last marked with x."""
        number, groups = self.number, [f"{self.number % 1000:03d}"]
        while number >= 1000:
            number //= 1000
            groups.insert(0, f"x{number % 1000:03d}")
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_HASHES else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"

    def first_entry(self, position: int = 0) -> int:
        """Index of the first log entry below its hash at a position."""
        return (self.first + position) << _height(self.level)

    def is_within(self, size: int) -> bool:
        """Whether a log of this size has it."""
        return self.first + self.width <= size >> _height(self.level)


def tile_at(path: str) -> Tile | None:
    """The tile that a path names; None for any other spelling."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    level = ENTRIES if match["level"] == "entries" else int(match["level"])
    number = int(match["number"].replace("x", "").replace("/", ""))
    tile = Tile(level, number, int(match["width"] or TILE_HASHES))
    return tile if tile.width <= TILE_HASHES and tile.path == path else None


def tiles_of_level(level: int, size: int) -> Iterator[Tile]:
    """The tiles that a log of this size has at a level."""
    hashes = size >> _height(level)
    for number in range(hashes // TILE_HASHES):
        yield Tile(level, number, TILE_HASHES)
    if hashes % TILE_HASHES:
        yield Tile(level, hashes // TILE_HASHES, hashes % TILE_HASHES)


def levels_of(size: int) -> range:
    """The levels of hashes that have a tile at this size."""
    return range(max(size.bit_length() - 1, 0) // TILE_HEIGHT + 1) if size else range(0)


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle: each behind its length."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def _height(level: int) -> int:
    """How many levels of the tree lie below a level of tiles."""
    return TILE_HEIGHT * max(level, 0)
