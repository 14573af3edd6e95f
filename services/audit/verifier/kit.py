"""A trail as a directory: `policy`, `checkpoint`, `tile/…` and, if asked for, `details.jsonl`.

Line i of `details.jsonl` opens entry i: its detail and salt in base64, or why it could not be opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .notes import Checkpoint, LogKey, Malformed, bytes_of, read_log_key, read_policy, signed_checkpoint
from .tiles import ENTRIES, CannotLook, open_file, read_entries, read_file, tiles_of_level

POLICY: Final = "policy"
CHECKPOINT: Final = "checkpoint"
DETAILS: Final = "details.jsonl"
NOTE_BYTES_MAX: Final = 64 * 1024
LINE_BYTES_MAX: Final = 16 * 1024
"""More than a detail of 4,096 bytes and its salt take in base64."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one leaf."""

    detail: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Kit:
    """A trail in a directory, and the log key to check it with, if one was given from elsewhere."""

    directory: Path
    pinned: LogKey | None = None

    def read_checkpoint(self) -> Checkpoint:
        """The signed head; Malformed or WrongSignature where it is not what the log signed."""
        note = self._read(CHECKPOINT)
        return signed_checkpoint(note, self.pinned or self._own_key())

    def _own_key(self) -> LogKey:
        try:
            return read_policy(self._read(POLICY).decode("utf-8"))
        except UnicodeDecodeError:
            raise Malformed("a policy is UTF-8") from None

    def entries(self, size: int) -> Iterator[bytes | None]:
        """Each entry in order; None where its bundle cannot be read."""
        for tile in tiles_of_level(ENTRIES, size):
            try:
                found: list[bytes | None] = list(read_entries(self.directory, tile)[0])
            except Malformed:
                found = []
            yield from found + [None] * (tile.width - len(found))

    @property
    def has_details(self) -> bool:
        """Whether the kit holds openings."""
        return os.path.lexists(self.directory / DETAILS)

    def lines(self) -> Iterator[bytes]:
        """The lines of the openings, each with its line end; the one that has none is the last."""
        with open_file(self.directory, DETAILS) as file:
            try:
                yield from iter(lambda: file.readline(LINE_BYTES_MAX), b"")
            except OSError as error:
                raise CannotLook(f"{DETAILS} cannot be read: {error.strerror}") from None

    def _read(self, name: str) -> bytes:
        try:
            return read_file(self.directory, name, NOTE_BYTES_MAX)
        except Malformed as problem:
            raise CannotLook(str(problem)) from None


def read_opening(line: bytes, index: int) -> Opening:
    """The opening of this entry; Malformed unless the line is spelled exactly as it is written."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise Malformed("its detail line cannot be read") from None
    if fields == {"index": index, "problem": "detail_unreadable"}:
        raise Malformed("its stored detail could not be opened")
    if not isinstance(fields, dict) or set(fields) != {"detail", "index", "salt"}:
        raise Malformed("its detail line has other fields than the trail writes")
    if fields["index"] != index or not all(isinstance(fields[name], str) for name in ("detail", "salt")):
        raise Malformed("its detail line belongs to another entry")
    if line != _line(fields | {"index": index}):  # what is flat by now: no depth can end the writer
        raise Malformed("its detail line is not spelled as the trail writes it")
    return Opening(bytes_of(fields["detail"]), bytes_of(fields["salt"]))


def read_subject_keys(text: str) -> dict[str, bytes]:
    """Keys of subjects, a line each: the subject's id, a space, the key in base64."""
    pairs = [line.split(" ") for line in text.splitlines() if line]
    if any(len(pair) != 2 for pair in pairs):
        raise Malformed("a subject key is an id, a space and base64")
    return {subject: bytes_of(key) for subject, key in pairs}


def pinned_key(vkey: str | None) -> LogKey | None:
    """The log key that the reader brought along."""
    return None if vkey is None else read_log_key(vkey)  # an empty one is no key, not no wish for one


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode() + b"\n"
