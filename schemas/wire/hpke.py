"""HPKE (RFC 9180), base mode, single shot: the closed table of suites, and how keys and contexts are written.

The library takes no associated data, so all context goes into `info` (as RFC 9180 §8.1 advises). Base mode
names no sender: whatever is sealed here is signed by whoever hands it over.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from schemas.ids import derive

PRIVATE_BYTES: Final = 32
"""Of either suite; for suite 2 it is the seed from which X-Wing expands both of its keys."""
DEFAULT_SUITE: Final = 2
_MLKEM_BYTES: Final = 1184

AnyPublic = X25519PublicKey | MLKEM768X25519PublicKey
AnyPrivate = X25519PrivateKey | MLKEM768X25519PrivateKey


class CannotOpen(ValueError):
    """A suite, key, context or text that does not fit the others; which, nobody can tell."""


@dataclass(frozen=True, slots=True)
class HpkeSuite:
    """One row of the table: the algorithms, how its keys are read, and what sealing adds."""

    algorithms: Suite
    public_bytes: int
    adds_bytes: int
    read_public: Callable[[bytes], AnyPublic]
    read_private: Callable[[bytes], AnyPrivate]
    public_of: Callable[[bytes], bytes]


def _hybrid_public(raw: bytes) -> MLKEM768X25519PublicKey:
    lattice = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_BYTES])
    return MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(raw[_MLKEM_BYTES:]))


def _halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(96)  # X-Wing's expandDecapsulationKey
    lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    return lattice, X25519PrivateKey.from_private_bytes(expanded[64:])


def _hybrid_public_of(seed: bytes) -> bytes:
    lattice, curve = _halves(seed)
    return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


SUITES: Final[Mapping[int, HpkeSuite]] = {
    1: HpkeSuite(
        Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
        public_bytes=32,
        adds_bytes=48,
        read_public=X25519PublicKey.from_public_bytes,
        read_private=X25519PrivateKey.from_private_bytes,
        public_of=lambda raw: X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw(),
    ),
    2: HpkeSuite(  # X-Wing: children's records outlive the years that X25519 alone is good for
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
        public_bytes=_MLKEM_BYTES + 32,
        adds_bytes=1136,
        read_public=_hybrid_public,
        read_private=lambda seed: MLKEM768X25519PrivateKey(*_halves(seed)),
        public_of=_hybrid_public_of,
    ),
}
"""Every suite there is; any other number is refused."""


def new_pair(suite: int) -> tuple[bytes, bytes]:
    """A fresh pair, private and public."""
    private = secrets.token_bytes(PRIVATE_BYTES)
    return private, public_of(suite, private)


def public_of(suite: int, private: bytes) -> bytes:
    """The public key of a private one; CannotOpen for another suite or size."""
    if suite not in SUITES or len(private) != PRIVATE_BYTES:
        raise CannotOpen
    return SUITES[suite].public_of(private)


def seal(suite: int, public: bytes, info: bytes, plain: bytes) -> bytes:
    """Encrypt to a public key; CannotOpen where there is no such suite or the key is none of it."""
    row = SUITES.get(suite)
    if row is None or len(public) != row.public_bytes:
        raise CannotOpen
    try:
        return row.algorithms.encrypt(plain, row.read_public(public), info)
    except ValueError:
        raise CannotOpen from None


def open_sealed(suite: int, private: bytes, info: bytes, sealed: bytes) -> bytes:
    """Decrypt what `seal` made under the same context; CannotOpen for anything else."""
    row = SUITES.get(suite)
    if row is None or len(private) != PRIVATE_BYTES or len(sealed) < row.adds_bytes:
        raise CannotOpen
    try:
        return row.algorithms.decrypt(sealed, row.read_private(private), info)
    except (ValueError, InvalidTag):
        raise CannotOpen from None


def is_public_key(suite: int, public: bytes) -> bool:
    """Whether something can be sealed to this key; a weak point of the curve is none."""
    try:
        seal(suite, public, b"", b"")
    except CannotOpen:
        return False
    return True


def key_id(suite: int, public: bytes) -> str:
    """The id that a reader's key has by itself: `rk_` and half of SHA-256(LP(suite, public))."""
    return derive("reader_key", hashlib.sha256(length_prefixed(suite, public)).digest())


def length_prefixed(*parts: str | bytes | int) -> bytes:
    """LP: each part after its length in 4 bytes, big-endian; text as UTF-8, numbers in decimal."""
    raw = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"".join(len(part).to_bytes(4) + part for part in raw)
