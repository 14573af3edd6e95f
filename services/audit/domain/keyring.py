"""Opens and makes the keys that lie wrapped in the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.audit.domain.group import Key, Random, Subject
from services.audit.domain.records import StoredEntry, StoredSubject
from services.audit.domain.sealing import KEY_BYTES, NONCE_BYTES, Unreadable, open_detail, unwrap, wrap

TAG_KEY: Final = "tag/"


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
            tag_key = unwrap(self.wrap_key, stored.tag_key, name=TAG_KEY + stored.id)
            return Subject(stored.owner, tag_key, self.key(stored.id, stored.data_key), stored.number)
        except Unreadable:
            return None

    def key(self, name: str, wrapped: bytes) -> Key:
        """The data key of a row."""
        return Key(name, unwrap(self.wrap_key, wrapped, name=name))

    def new_key(self, name: str) -> tuple[Key, bytes]:
        """A new data key, open and wrapped."""
        key = self.random(KEY_BYTES)
        return Key(name, key), wrap(self.wrap_key, self.random(NONCE_BYTES), key, name=name)

    def wrapped_tag_key(self, subject: str, key: bytes) -> bytes:
        """A subject's tag key for its row."""
        return wrap(self.wrap_key, self.random(NONCE_BYTES), key, name=TAG_KEY + subject)

    def opened(self, entry: StoredEntry) -> tuple[bytes, bytes]:
        """Salt and detail of a stored entry."""
        if entry.key_wrapped is None:
            raise Unreadable
        key = self.key(entry.key_name, entry.key_wrapped).key
        return open_detail(key, entry.sealed, origin=self.origin, index=entry.index)
