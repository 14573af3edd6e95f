"""Keys, checkpoints and signed notes (C2SP), written and strictly read: one spelling a meaning."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.trail.bytes import TrailFault, decoded, encoded
from schemas.trail.tree import HASH_BYTES

ED25519: Final = b"\x01"
SIGNATURES_MAX: Final = 16
_SIZE_MAX: Final = 2**63 - 1
_DASH: Final = "\u2014"


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


@dataclass(frozen=True)
class Signer:
    """A private Ed25519 key with the name it signs under."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Self:
        """The key that a 32-byte seed makes."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public(self) -> NamedKey:
        """The key that verifies."""
        return NamedKey(self.name, self.private.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: what its key signs."""

    origin: str
    size: int
    root: bytes


def vkey(key: NamedKey) -> str:
    """A public key as C2SP writes it: name, id, type and key."""
    return f"{key.name}+{key.id.hex()}+{encoded(ED25519 + key.public)}"


def named_key(text: str) -> NamedKey:
    """Read a public key; TrailFault where its id and its bytes do not belong together."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not _is_name(parts[0]):
        raise TrailFault("a verifier key is name+id+key")
    raw = decoded(parts[2])
    if len(raw) != 33 or raw[:1] != ED25519:
        raise TrailFault("the verifier key is not Ed25519")
    key = NamedKey(parts[0], raw[1:])
    if key.id.hex() != parts[1]:
        raise TrailFault("the verifier key's id does not belong to its bytes")
    return key


def checkpoint_text(head: Checkpoint) -> str:
    """The three signed lines."""
    return f"{head.origin}\n{head.size}\n{encoded(head.root)}\n"


def read_checkpoint(text: str) -> Checkpoint:
    """The head that three lines name; no extension lines."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not _is_name(lines[0]) or not lines[0].isascii():
        raise TrailFault("a checkpoint is three lines: origin, size, root")
    size, root = _size(lines[1]), decoded(lines[2])
    if len(root) != HASH_BYTES:
        raise TrailFault("a root is 32 bytes")
    return Checkpoint(lines[0], size, root)


def size_line(origin: str, size: int) -> str:
    """How far a log was seen, as whoever checks permits keeps it."""
    return f"{origin} {size}\n"


def read_size_line(text: str) -> tuple[str, int]:
    """The log and the size that such a line names."""
    origin, _, rest = text.partition(" ")
    if not _is_name(origin) or not rest.endswith("\n"):
        raise TrailFault("how far a log was seen is one line: its name and its size")
    return origin, _size(rest[:-1])


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise TrailFault("a size is a decimal number without leading zeros")
    if int(text) > _SIZE_MAX:
        raise TrailFault("a size fits 63 bits")
    return int(text)


def signed_note(text: str, signer: Signer) -> str:
    """A text with the signer's line below it."""
    signature = encoded(signer.public.id + signer.private.sign(text.encode()))
    return f"{text}\n{_DASH} {signer.name} {signature}\n"


@lru_cache(maxsize=64)
def signed_checkpoint(note: str, key: NamedKey) -> Checkpoint:
    """The checkpoint of a note that this log key signed; the verdict is kept per text.

    Signatures of other keys are left alone.
    """
    text, signatures = _note_parts(note)
    checkpoint = read_checkpoint(text)
    if checkpoint.origin != key.name:
        raise TrailFault("the checkpoint is of another log")
    own = signatures.get((key.name, key.id))
    if own is None:
        raise TrailFault("the log's key did not sign this checkpoint")
    if not key.verifies(own, text.encode()):
        raise TrailFault("the log's signature on the checkpoint is wrong")
    return checkpoint


def named_checkpoint(note: str) -> Checkpoint:
    """The checkpoint of a note, whoever signed it: for notes whose signature was checked before."""
    return read_checkpoint(_note_parts(note)[0])


def _note_parts(note: str) -> tuple[str, dict[tuple[str, bytes], bytes]]:
    """A note's text, and its signatures by name and key id, none of them checked yet."""
    if any(ord(mark) < 0x20 and mark != "\n" for mark in note):
        raise TrailFault("a note has no control characters, no carriage return either")
    body, blank, tail = note.rpartition("\n\n")
    lines = tail[:-1].split("\n")
    if not blank or not tail.endswith("\n") or len(lines) > SIGNATURES_MAX:
        raise TrailFault("a note is a text, a blank line and some lines of signatures")
    signatures = dict(map(_signature, lines))
    if len(signatures) != len(lines):
        raise TrailFault("one key signs a note once")
    return body + "\n", signatures


def _signature(line: str) -> tuple[tuple[str, bytes], bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not _is_name(parts[1]):
        raise TrailFault("a signature line is a dash, a name and base64")
    raw = decoded(parts[2])
    if len(raw) < 5:
        raise TrailFault("a signature has a key id and some bytes")
    return (parts[1], raw[:4]), raw[4:]


def _is_name(name: str) -> bool:
    return bool(name) and name.isprintable() and "+" not in name and not any(map(str.isspace, name))
