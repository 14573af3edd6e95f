"""Signed notes, verifier keys, checkpoints and policies (C2SP), read strictly: one spelling a meaning."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .hashes import HASH_BYTES

SIGNATURES_MAX: Final = 16
SIZE_MAX: Final = 2**63 - 1
_ED25519: Final = 1
_DASH: Final = "\u2014"


class Malformed(Exception):
    """These bytes are not what they claim to be."""


class WrongSignature(Exception):
    """The note is not signed by the key that was given."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """The name and Ed25519 key of a log."""

    name: str
    key_id: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log that its key signed."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


def bytes_of(text: str) -> bytes:
    """Standard base64, canonical: no second spelling of the same bytes."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Malformed("not standard base64") from None
    if base64.b64encode(raw).decode("ascii") != text:
        raise Malformed("not canonical base64")
    return raw


def read_log_key(vkey: str) -> LogKey:
    """A verifier key: name, id and key; the id must belong to the other two."""
    parts = vkey.split("+", 2)
    if len(parts) != 3 or not _is_name(parts[0]):
        raise Malformed("a verifier key is name+id+key")
    raw = bytes_of(parts[2])
    key_id = hashlib.sha256(parts[0].encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 1 + HASH_BYTES or raw[0] != _ED25519:
        raise Malformed("the log's verifier key is not Ed25519")
    if key_id.hex() != parts[1]:
        raise Malformed("the verifier key's id does not belong to its key")
    return LogKey(parts[0], key_id, raw[1:])


def read_policy(text: str) -> LogKey:
    """A policy of one log and no witnesses."""
    lines = text.split("\n")
    if len(lines) != 3 or lines[1:] != ["quorum none", ""] or not lines[0].startswith("log "):
        raise Malformed("a policy here is a log line and `quorum none`")
    return read_log_key(lines[0].removeprefix("log "))


def open_note(note: bytes) -> tuple[str, Sequence[Signature]]:
    """Text and signature lines of a note, none of them checked yet."""
    try:
        text = note.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("a note is UTF-8") from None
    if any(ord(mark) < 0x20 and mark != "\n" for mark in text):
        raise Malformed("a note has no control characters, no carriage return either")
    body, blank, tail = text.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise Malformed("a note is a text, a blank line and lines of signatures")
    return body + "\n", _signatures(tail[:-1].split("\n"))


def _signatures(lines: Sequence[str]) -> list[Signature]:
    if len(lines) > SIGNATURES_MAX:
        raise Malformed("too many signatures")
    signatures = [_signature(line) for line in lines]
    if len({(one.name, one.key_id) for one in signatures}) != len(signatures):
        raise Malformed("one key signs a note once")
    return signatures


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not _is_name(parts[1]):
        raise Malformed("a signature line is a dash, a name and base64")
    raw = bytes_of(parts[2])
    if len(raw) < 5:
        raise Malformed("a signature has a key id and some bytes")
    return Signature(parts[1], raw[:4], raw[4:])


def _is_name(name: str) -> bool:
    return name.isprintable() and bool(name) and "+" not in name and not any(map(str.isspace, name))


def read_checkpoint(text: str) -> Checkpoint:
    """The three lines of a checkpoint; no extension lines."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not _is_name(lines[0]) or not lines[0].isascii():
        raise Malformed("a checkpoint is three lines: origin, size, root")
    root = bytes_of(lines[2])
    if len(root) != HASH_BYTES:
        raise Malformed("a root is 32 bytes")
    return Checkpoint(lines[0], _size(lines[1]), root)


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise Malformed("a size is a decimal number without leading zeros")
    if int(text) > SIZE_MAX:
        raise Malformed("a size fits 63 bits")
    return int(text)


def signed_checkpoint(note: bytes, key: LogKey) -> Checkpoint:
    """The checkpoint that this key signed; signatures of other keys are left alone."""
    text, signatures = open_note(note)
    checkpoint = read_checkpoint(text)
    if checkpoint.origin != key.name:
        raise WrongSignature("the checkpoint is of another log")
    own = [one for one in signatures if (one.name, one.key_id) == (key.name, key.key_id)]
    if not own:
        raise WrongSignature("the log's key did not sign this checkpoint")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(own[0].signature, text.encode())
    except InvalidSignature:
        raise WrongSignature("the log's signature on the checkpoint is wrong") from None
    return checkpoint
