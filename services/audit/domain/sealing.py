"""How details and keys lie in the database: AES-256-GCM, a fresh nonce before each ciphertext."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12
SALT_BYTES: Final = 32
KEY_BYTES: Final = 32


class Unreadable(Exception):
    """These stored bytes are not what was sealed here under this key."""


def seal_detail(key: bytes, nonce: bytes, salt: bytes, detail: bytes, *, origin: str, index: int) -> bytes:
    """Seal a detail with its salt, bound to its place in the log."""
    return nonce + AESGCM(key).encrypt(nonce, salt + detail, _place(origin, index))


def open_detail(key: bytes, sealed: bytes, *, origin: str, index: int) -> tuple[bytes, bytes]:
    """Salt and detail of an entry."""
    plain = _open(key, sealed, _place(origin, index))
    return plain[:SALT_BYTES], plain[SALT_BYTES:]


def wrap(wrap_key: bytes, nonce: bytes, key: bytes, *, name: str) -> bytes:
    """Wrap a key for its row, bound to the row's name."""
    return nonce + AESGCM(wrap_key).encrypt(nonce, key, name.encode())


def unwrap(wrap_key: bytes, wrapped: bytes, *, name: str) -> bytes:
    """The key of a row."""
    return _open(wrap_key, wrapped, name.encode())


def _place(origin: str, index: int) -> bytes:
    return origin.encode() + index.to_bytes(8, "big")


def _open(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    if len(sealed) < NONCE_BYTES:
        raise Unreadable
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag:
        raise Unreadable from None
