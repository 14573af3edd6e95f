"""The keys that lie wrapped in the database, and what is sealed under them.

AES-256-GCM with a fresh nonce before each ciphertext; a detail is bound to its place, a key to its row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.trail.bytes import SALT_BYTES
from services.audit.domain.records import StoredEntry, StoredSubject

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
TAG_KEY: Final = "tag/"

Random = Callable[[int], bytes]


class Unreadable(Exception):
    """These stored bytes are not what was sealed here under this key."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of details, under the name of its row."""

    name: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subject:
    """A registered subject: who registered it, the keys of its tags and details, its counter so far."""

    owner: str
    tag_key: bytes = field(repr=False)
    data_key: DataKey
    number: int


@dataclass(frozen=True)
class Keyring:
    """The wrap key of this installation, and what it opens in one log."""

    origin: str
    wrap_key: bytes = field(repr=False)
    random: Random

    def subject(self, stored: StoredSubject) -> Subject | None:
        """A registered subject with its keys; None where they are gone or not its own."""
        if stored.data_key is None:
            return None
        try:
            tag_key = _opened(self.wrap_key, stored.tag_key, (TAG_KEY + stored.id).encode())
            return Subject(stored.owner, tag_key, self.key(stored.id, stored.data_key), stored.number)
        except Unreadable:
            return None

    def key(self, name: str, wrapped: bytes) -> DataKey:
        """The data key of a row."""
        return DataKey(name, _opened(self.wrap_key, wrapped, name.encode()))

    def new_key(self, name: str) -> tuple[DataKey, bytes]:
        """A new data key, open and wrapped."""
        key = self.random(KEY_BYTES)
        return DataKey(name, key), self._sealed(self.wrap_key, key, name.encode())

    def wrapped_tag_key(self, subject: str, key: bytes) -> bytes:
        """A subject's tag key for its row."""
        return self._sealed(self.wrap_key, key, (TAG_KEY + subject).encode())

    def sealed_detail(self, key: DataKey, salt: bytes, detail: bytes, index: int) -> bytes:
        """A detail with its salt, for its place in the log."""
        return self._sealed(key.key, salt + detail, self._place(index))

    def opened_detail(self, entry: StoredEntry) -> tuple[bytes, bytes]:
        """Salt and detail of a stored entry; Unreadable where they are not those of its place."""
        if entry.key_wrapped is None:
            raise Unreadable
        key = self.key(entry.key_name, entry.key_wrapped).key
        plain = _opened(key, entry.sealed, self._place(entry.index))
        return plain[:SALT_BYTES], plain[SALT_BYTES:]

    def _place(self, index: int) -> bytes:
        return self.origin.encode() + index.to_bytes(8, "big")

    def _sealed(self, key: bytes, plain: bytes, associated: bytes) -> bytes:
        nonce = self.random(NONCE_BYTES)
        return nonce + AESGCM(key).encrypt(nonce, plain, associated)


def _opened(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    if len(sealed) < NONCE_BYTES:
        raise Unreadable
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag:
        raise Unreadable from None
