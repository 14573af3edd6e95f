"""Signatures on objects: Ed25519 over `<format> sig` and the JCS form of the object without its signature."""

import hashlib
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field

from schemas.trail.bytes import canonical
from schemas.wire.exact_bytes import Bytes64

S = TypeVar("S", bound="SignedObject")


class SignatureWrong(ValueError):
    """The signature is missing, by another key, or over other words."""


class ObjectSignature(BaseModel):
    """Who signed, by the id of the key, and the signature."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kid: str = Field(pattern=r"^[0-9a-f]{16}$")
    value: Bytes64


class SignedObject(BaseModel):
    """What one key signs; its reader knows the key from elsewhere. Each format has a `v` of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    v: str
    sig: ObjectSignature | None = None

    def signed_bytes(self) -> bytes:
        """The exact bytes under the signature."""
        return f"{self.v} sig".encode("ascii") + canonical(self.model_dump(mode="json", exclude={"sig"}))


def sign(words: S, private: Ed25519PrivateKey) -> S:
    """The same object with its signature."""
    kid = key_name(private.public_key().public_bytes_raw())
    signature = ObjectSignature(kid=kid, value=private.sign(words.signed_bytes()))
    return words.model_copy(update={"sig": signature})


def check_signature(words: SignedObject, public: bytes) -> None:
    """Raise SignatureWrong unless this key signed exactly these words."""
    sig = words.sig
    if sig is None or sig.kid != key_name(public) or not is_signed(words.signed_bytes(), sig.value, public):
        raise SignatureWrong


def is_signed(message: bytes, signature: bytes, public: bytes) -> bool:
    """Whether this Ed25519 key signed exactly these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_name(public: bytes) -> str:
    """The `kid` of an Ed25519 key: the first 16 hex digits of SHA-256 of its 32 bytes."""
    return hashlib.sha256(public).hexdigest()[:16]
