"""The two hash functions of the tree (RFC 6962 section 2.1) and the root of an empty one."""

from __future__ import annotations

import hashlib
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node over its two children."""
    return hashlib.sha256(_NODE + left + right).digest()
