"""Keys and checkpoints as the trail's askers read them (C2SP signed-note and tlog-checkpoint)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.wire.exact_bytes import decoded, encoded

ED25519: Final = b"\x01"
SIGNATURES_MAX: Final = 16
_SIZE_MAX: Final = 2**63 - 1


class NoteRefused(Exception):
    """The text is no checkpoint that this key signed."""


@dataclass(frozen=True, slots=True)
class NamedKey:
    """An Ed25519 public key with the name it signs under."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand before each of its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature over the message is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def vkey(key: NamedKey) -> str:
    """A public key as C2SP writes it: name, id, type and key."""
    return f"{key.name}+{key.id.hex()}+{encoded(ED25519 + key.public)}"


def named_key(text: str) -> NamedKey:
    """Read a public key; a ValueError when its id and its bytes do not belong together."""
    name, plus, rest = text.partition("+")
    key_id, second, blob = rest.partition("+")
    raw = decoded(blob)
    if not (name and plus and second) or len(raw) != 33 or raw[:1] != ED25519:
        raise ValueError("an Ed25519 verifier key is needed: name+id+key")
    key = NamedKey(name, raw[1:])
    if key.id.hex() != key_id:
        raise ValueError("the verifier key's id does not belong to its bytes")
    return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed head of the log."""

    origin: str
    size: int
    root: bytes


@lru_cache(maxsize=64)
def signed_checkpoint(note: str, key: NamedKey) -> Checkpoint:
    """The checkpoint of a note that this log key signed; the verdict is kept per text."""
    try:
        text, signatures = _note_parts(note)
        checkpoint = _checkpoint(text)
        found = [raw[4:] for name, raw in signatures if name == key.name and raw[:4] == key.id]
    except ValueError:
        raise NoteRefused from None
    if checkpoint.origin != key.name or len(found) != 1 or not key.verifies(found[0], text.encode()):
        raise NoteRefused
    return checkpoint


def _note_parts(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if any(ord(mark) < 0x20 and mark != "\n" for mark in note) or not note.endswith("\n"):
        raise ValueError("a note has no control characters and ends its last line")
    body, blank, tail = note.rpartition("\n\n")
    lines = tail[:-1].split("\n")
    if not blank or len(lines) > SIGNATURES_MAX:
        raise ValueError("a note has a text, a blank line and some signatures")
    signatures = [_signature(line) for line in lines]
    if len({(name, raw[:4]) for name, raw in signatures}) != len(signatures):
        raise ValueError("no key signs a note twice")
    return body + "\n", signatures


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not parts[1] or "+" in parts[1]:
        raise ValueError("a signature is a dash, a name and base64")
    raw = decoded(parts[2])
    if len(raw) < 5:
        raise ValueError("a signature has a key id before it")
    return parts[1], raw


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise ValueError("a checkpoint has exactly three lines")
    origin, size, root = lines[0], lines[1], decoded(lines[2])
    if not (size.isascii() and size.isdigit()) or (size[0] == "0" and size != "0"):
        raise ValueError("a size is a decimal number")
    if not origin or len(root) != 32 or len(size) > 19 or int(size) > _SIZE_MAX:
        raise ValueError("a checkpoint has an origin, a size and a root of 32 bytes")
    return Checkpoint(origin, int(size), root)
