"""What the trail hashes, byte by byte: requests, details, subjects' keys and tags, leaves."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.events.access import Access, Item
from schemas.trail.tree import leaf_hash, tree_root
from schemas.wire.exact_bytes import encoded
from schemas.wire.strict_json import canonical_json

LEAF_PREFIX: Final = b"AAT1"
PERMIT_CONTEXT: Final = b"concert/permit/v1\n"
REQUEST_CONTEXT: Final = b"concert/request/v1\n"


def canonical(value: Any) -> bytes:
    """JSON in its one canonical form (RFC 8785); what the trail hashes has no fractions."""
    return canonical_json(value)


def request_digest(access: Access, audience: str, items: Sequence[Item], nonce: bytes) -> bytes:
    """The digest that ties a permit to one request of one service."""
    asked = {
        "access": access.plain(),
        "audience": audience,
        "items": [item.plain() for item in items],
        "nonce": encoded(nonce),
    }
    return hashlib.sha256(REQUEST_CONTEXT + canonical(asked)).digest()


def trail_words(kind: str, mode: str, *, service: str, site: str) -> dict[str, Any]:
    """What the trail itself says about an entry of an access, but for time and counter."""
    return {"v": 1, "kind": kind, "mode": mode, "service": service, "site": site}


def stamped(
    words: Mapping[str, Any], *, at: str, number: int | None, item_leaves: Sequence[bytes] | None = None
) -> dict[str, Any]:
    """A detail, complete: its words, its time, the subject's counter, and the items before it."""
    detail = {**words, "t": at}
    if number is not None:
        detail["n"] = number
    if item_leaves is not None:
        detail["items"] = items_field(item_leaves)
    return detail


def items_field(leaves: Sequence[bytes]) -> dict[str, Any]:
    """How an intent names the items before it: their count, and the root over their leaves."""
    return {"count": len(leaves), "root": encoded(tree_root([leaf_hash(entry) for entry in leaves]))}


def subject_key(case_key: bytes, number: int) -> bytes:
    """The tag key of one subject of a case: 0 is the case itself, 1, 2, … its referrals."""
    info = b"aat1/subject" + number.to_bytes(4, "big")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(case_key)


def commitment(salt: bytes, detail: bytes) -> bytes:
    """Binds a leaf to its detail; without the salt nobody can guess the detail from it."""
    return hmac.digest(salt, b"\x01" + detail, "sha256")


def tag(key: bytes, number: int) -> bytes:
    """The subject's mark on its n-th entry; random to everybody without the key."""
    return hmac.digest(key, b"aat1/tag" + number.to_bytes(8, "big"), "sha256")[:16]


def leaf(entry_tag: bytes, entry_commitment: bytes) -> bytes:
    """The 52 public bytes of an entry."""
    return LEAF_PREFIX + entry_tag + entry_commitment
