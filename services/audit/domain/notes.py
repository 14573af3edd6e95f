"""What the trail signs: checkpoints as C2SP notes, permits as plain bytes."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.events.access import PermitBody, SignedPermit
from schemas.trail.bytes import PERMIT_CONTEXT, canonical
from schemas.trail.notes import Checkpoint, NamedKey
from schemas.wire.exact_bytes import encoded


@dataclass(frozen=True)
class Signer:
    """A private Ed25519 key with the name it signs under."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Signer:
        """The key that a 32-byte seed makes."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public(self) -> NamedKey:
        """The key that verifies."""
        return NamedKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature over a message; the same message, the same signature."""
        return self.private.sign(message)


def checkpoint_text(head: Checkpoint) -> str:
    """The three signed lines."""
    return f"{head.origin}\n{head.size}\n{encoded(head.root)}\n"


def signed_note(text: str, signer: Signer) -> str:
    """A text with the signer's line below it."""
    signature = encoded(signer.public.id + signer.sign(text.encode()))
    return f"{text}\n\u2014 {signer.name} {signature}\n"


def signed_permit(body: PermitBody, signer: Signer) -> SignedPermit:
    """A permit's canonical bytes, signed."""
    raw = canonical(body.plain())
    return SignedPermit(body=raw, key=signer.name, sig=signer.sign(PERMIT_CONTEXT + raw))
