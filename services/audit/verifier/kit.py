"""A trail as a directory: `policy`, `checkpoint`, `tile/…` and, if asked for, `details.jsonl`.

Line i of `details.jsonl` opens entry i: its detail and salt in base64, or why it could not be opened.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from schemas.trail.bytes import TrailFault, canonical, decoded, json_object
from schemas.trail.notes import Checkpoint, NamedKey, named_key, signed_checkpoint
from schemas.trail.tiles import ENTRIES, Tile, tiles_of_level
from schemas.trail.tree import HASH_BYTES, TILE_HASHES

POLICY: Final = "policy"
CHECKPOINT: Final = "checkpoint"
DETAILS: Final = "details.jsonl"
NOTE_BYTES_MAX: Final = 64 * 1024
BUNDLE_BYTES_MAX: Final = TILE_HASHES * (2 + 0xFFFF)
LINE_BYTES_MAX: Final = 16 * 1024
"""More than a detail of 4,096 bytes and its salt take in base64."""


class CannotLook(Exception):
    """There is nothing here to be checked, or this machine does not let it be read."""


@dataclass(frozen=True, slots=True)
class Kit:
    """A trail in a directory, and the log key to check it with, if one was given from elsewhere.

    What the directory holds and is not what it should be is a TrailFault; what cannot be read, CannotLook.
    """

    directory: Path
    pinned: NamedKey | None = None

    def read_checkpoint(self) -> Checkpoint:
        """The head that the log signed."""
        note = self._read_text(CHECKPOINT)
        return signed_checkpoint(note, self.pinned or read_policy(self._read_text(POLICY)))

    def read_hashes(self, tile: Tile) -> list[bytes]:
        """The hashes of a tile."""
        raw = self._read(tile.path, tile.width * HASH_BYTES)
        if len(raw) != tile.width * HASH_BYTES:
            raise TrailFault(f"{tile.path} does not hold {tile.width} hashes")
        return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]

    def read_entries(self, tile: Tile) -> tuple[list[bytes], bool]:
        """The entries of a bundle as far as they can be read, and whether it ends where it should."""
        raw = self._read(tile.path, BUNDLE_BYTES_MAX)
        entries: list[bytes] = []
        at = 0
        while len(entries) < tile.width and at + 2 <= len(raw):
            end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
            if end > len(raw):
                break
            entries.append(raw[at + 2 : end])
            at = end
        return entries, at == len(raw) and len(entries) == tile.width

    def entries(self, size: int) -> Iterator[bytes | None]:
        """Each entry in order; None where its bundle cannot be read."""
        for tile in tiles_of_level(ENTRIES, size):
            try:
                found: list[bytes | None] = list(self.read_entries(tile)[0])
            except TrailFault:
                found = []
            yield from found + [None] * (tile.width - len(found))

    @property
    def has_details(self) -> bool:
        """Whether the kit holds openings."""
        return os.path.lexists(self.directory / DETAILS)

    def lines(self) -> Iterator[bytes]:
        """The lines of the openings, each with its line end; the one that has none is the last."""
        with _open_file(self.directory, DETAILS) as file:
            try:
                yield from iter(lambda: file.readline(LINE_BYTES_MAX), b"")
            except OSError as error:
                raise CannotLook(f"{DETAILS} cannot be read: {error.strerror}") from None

    def _read(self, name: str, bytes_max: int) -> bytes:
        """A file's bytes, one more than allowed at most."""
        with _open_file(self.directory, name) as file:
            try:
                return file.read(bytes_max + 1)
            except OSError as error:
                raise CannotLook(f"{name} cannot be read: {error.strerror}") from None

    def _read_text(self, name: str) -> str:
        try:
            raw = self._read(name, NOTE_BYTES_MAX)
        except TrailFault as problem:
            raise CannotLook(str(problem)) from None
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise TrailFault(f"{name} is no UTF-8") from None


def read_policy(text: str) -> NamedKey:
    """The log key of a policy of one log and no witnesses."""
    lines = text.split("\n")
    if len(lines) != 3 or lines[1:] != ["quorum none", ""] or not lines[0].startswith("log "):
        raise TrailFault("a policy here is a log line and `quorum none`")
    return named_key(lines[0].removeprefix("log "))


def read_opening(line: bytes, index: int) -> tuple[bytes, bytes] | None:
    """Detail and salt of this entry, None where they were erased; TrailFault unless the line is spelled
    exactly as it is written."""
    opening = json_object(line)
    if opening == {"index": index, "problem": "detail_erased"}:
        return None
    if opening == {"index": index, "problem": "detail_unreadable"}:
        raise TrailFault("its stored detail could not be opened")
    if opening.keys() != {"detail", "index", "salt"}:
        raise TrailFault("its detail line has other fields than the trail writes")
    if opening["index"] != index:
        raise TrailFault("its detail line belongs to another entry")
    detail, salt = decoded(opening["detail"]), decoded(opening["salt"])
    if line != canonical(opening | {"index": index}) + b"\n":
        raise TrailFault("its detail line is not spelled as the trail writes it")
    return detail, salt


def read_subject_keys(text: str) -> dict[str, bytes]:
    """Keys of subjects, a line each: the subject's id, a space, the key in base64."""
    pairs = [line.split(" ") for line in text.splitlines() if line]
    if any(len(pair) != 2 for pair in pairs):
        raise TrailFault("a subject key is an id, a space and base64")
    return {subject: decoded(key) for subject, key in pairs}


def _open_file(directory: Path, name: str) -> BinaryIO:
    """Open a file, never waiting: a kit may hold a pipe, a folder or a device where a file should be.

    No link within the kit is followed: one to its own folder would make endless tiles of a few files, and
    reading what it leads to could wait for ever.
    """
    file = directory / name
    if any(path.is_symlink() for path in (file, *file.parents[: name.count("/")])):
        raise TrailFault(f"{name} is a link or behind one; a kit holds its files itself")
    try:
        number = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise TrailFault(f"{name} is missing") from None
    except OSError as error:
        raise CannotLook(f"{name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise TrailFault(f"{name} is no ordinary file")
    return os.fdopen(number, "rb")
