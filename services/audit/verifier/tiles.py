"""The static layout of a log (C2SP tlog-tiles): which files a size has, and reading them from a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from .hashes import HASH_BYTES
from .notes import Malformed

TILE_HEIGHT: Final = 8
TILE_HASHES: Final = 1 << TILE_HEIGHT
ENTRIES: Final = -1
"""The level under which entry bundles are named."""
BUNDLE_BYTES_MAX: Final = TILE_HASHES * (2 + 0xFFFF)


class CannotLook(Exception):
    """There is nothing here to be checked, or this machine does not let it be read."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: `width` hashes of a level, or as many entries."""

    level: int
    number: int
    width: int

    @property
    def first(self) -> int:
        """Index of its first hash within the level."""
        return self.number * TILE_HASHES

    @property
    def path(self) -> str:
        """Where the tile stands."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_HASHES else f".p/{self.width}"
        return f"tile/{level}/{numbered(self.number)}{partial}"

    def first_entry(self, position: int = 0) -> int:
        """Index of the first log entry below its hash at a position."""
        return (self.first + position) << (TILE_HEIGHT * max(self.level, 0))


def numbered(number: int) -> str:
    """A tile's number in groups of three digits, all but the last marked with x."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def tiles_of_level(level: int, size: int) -> Iterator[Tile]:
    """The tiles that a log of this size has at a level."""
    hashes = size >> (TILE_HEIGHT * max(level, 0))
    for number in range(hashes // TILE_HASHES):
        yield Tile(level, number, TILE_HASHES)
    if hashes % TILE_HASHES:
        yield Tile(level, hashes // TILE_HASHES, hashes % TILE_HASHES)


def levels_of(size: int) -> range:
    """The levels that have a tile at this size."""
    return range(max(size.bit_length() - 1, 0) // TILE_HEIGHT + 1) if size else range(0)


def read_hashes(root: Path, tile: Tile) -> list[bytes]:
    """The hashes of a tile."""
    raw = read_file(root, tile.path, tile.width * HASH_BYTES)
    if len(raw) != tile.width * HASH_BYTES:
        raise Malformed(f"{tile.path} does not hold {tile.width} hashes")
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]


def read_entries(root: Path, tile: Tile) -> tuple[list[bytes], bool]:
    """The entries of a bundle as far as they can be read, and whether the bundle ends where it should."""
    raw = read_file(root, tile.path, BUNDLE_BYTES_MAX)
    entries: list[bytes] = []
    at = 0
    while len(entries) < tile.width and at + 2 <= len(raw):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if end > len(raw):
            break
        entries.append(raw[at + 2 : end])
        at = end
    return entries, at == len(raw) and len(entries) == tile.width


def read_file(root: Path, name: str, bytes_max: int) -> bytes:
    """A file's bytes, one more than allowed at most; Malformed where the kit holds no such file."""
    with open_file(root, name) as file:
        try:
            return file.read(bytes_max + 1)
        except OSError as error:
            raise CannotLook(f"{name} cannot be read: {error.strerror}") from None


def open_file(root: Path, name: str) -> BinaryIO:
    """Open a file, never waiting: a kit may hold a pipe, a folder or a device where a file should be.

    No link within the kit is followed: one to its own folder would make endless tiles of a few files, and
    reading what it leads to could wait for ever.
    """
    above = [root / name, *(root / name).parents[: name.count("/")]]
    if any(path.is_symlink() for path in above):
        raise Malformed(f"{name} is a link or behind one; a kit holds its files itself")
    try:
        number = os.open(root / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise Malformed(f"{name} is missing") from None
    except OSError as error:
        raise CannotLook(f"{name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Malformed(f"{name} is no ordinary file")
    return os.fdopen(number, "rb")
