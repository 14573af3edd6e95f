"""What the database holds, as the rest of the service sees it."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Head:
    """The log as far as it is durable, and the epoch in which this process leads it."""

    size: int
    root: bytes
    epoch: int
    due_size: int


@dataclass(frozen=True, slots=True)
class NewEntry:
    """One entry to be stored; only the entry that answers a request carries caller, idem and body."""

    leaf: bytes
    key: str
    sealed: bytes
    caller: str | None = None
    idem: bytes | None = None
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry with the wrapped key of its detail."""

    index: int
    caller: str | None
    leaf: bytes
    key_name: str
    key_wrapped: bytes | None
    sealed: bytes = field(repr=False)

    @property
    def is_erased(self) -> bool:
        """Whether the key of its detail was destroyed, with its subject."""
        return self.key_wrapped == b""


@dataclass(frozen=True, slots=True)
class StoredSubject:
    """One registered subject with its wrapped keys."""

    id: str
    owner: str
    number: int
    tag_key: bytes
    data_key: bytes | None

    @property
    def is_erased(self) -> bool:
        """Whether its keys were destroyed; the rows stay, so that this is told from damage."""
        return self.tag_key == b""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as the signer wrote it."""

    size: int
    root: bytes
    note: str
    signed_at: datetime | None = None
    """By the database's clock, once it was stored there."""
