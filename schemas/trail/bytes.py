"""What the trail hashes, byte by byte: requests, details, subjects' keys and tags, leaves."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.trail.tree import leaf_hash, tree_root

LEAF_PREFIX: Final = b"AAT1"
SALT_BYTES: Final = 32
COUNTER_MAX: Final = 2**53 - 1
REQUEST_CONTEXT: Final = b"concert/request/v1\n"


class TrailFault(ValueError):
    """Bytes that are not what they claim to be; the sentence says why."""


def encoded(raw: bytes) -> str:
    """Bytes as standard base64."""
    return base64.b64encode(raw).decode("ascii")


def decoded(text: object) -> bytes:
    """Bytes of standard base64; TrailFault for every second spelling of the same bytes."""
    if not isinstance(text, str):
        raise TrailFault("standard base64 text is needed")
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise TrailFault("this is not standard base64") from None
    if encoded(raw) != text:
        raise TrailFault("this is not canonical base64")
    return raw


def canonical(value: object) -> bytes:
    """JCS (RFC 8785); with names in ASCII and without fractions, sorted compact JSON is the same."""
    return _CANONICAL.encode(value).encode("utf-8")


_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def json_object(text: bytes) -> dict[str, Any]:
    """The members of a JSON object; TrailFault for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise TrailFault("this is no JSON") from None
    if not isinstance(value, dict):
        raise TrailFault("this is no JSON object")
    return value


def request_digest(request: Mapping[str, Any], audience: str) -> bytes:
    """The digest that ties a permit to one request of one service; `idem` is no part of it."""
    asked = {"audience": audience} | {name: request[name] for name in ("access", "items", "nonce")}
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


def tag_of(entry: bytes) -> bytes:
    """The tag within a leaf."""
    return entry[len(LEAF_PREFIX) : len(LEAF_PREFIX) + 16]


def opens(entry: bytes, salt: bytes, detail: bytes) -> bool:
    """Whether a leaf commits to this detail."""
    return len(salt) == SALT_BYTES and entry == leaf(tag_of(entry), commitment(salt, detail))


def is_counter(number: object) -> TypeGuard[int]:
    """Whether a detail's `n` is a whole number that a subject's counter can have reached."""
    return type(number) is int and 1 <= number <= COUNTER_MAX
