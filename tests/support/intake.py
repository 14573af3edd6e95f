"""A vault's keys for tests of its service: what writers seal to, and what opens it again."""

from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.wire.hpke import new_pair
from schemas.wire.packets import IntakeKey, unwrap_at_intake
from schemas.wire.signed import sign
from services.sector.vault.requests import DataKeyWrap
from tests.support.clock import NOON

VAULT_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"v" * 32)
VAULT_PUBLIC: Final = VAULT_KEY.public_key().public_bytes_raw()
PRIVATE, PUBLIC = new_pair(1)


def an_intake_key(sector: str, epoch: str = "e1") -> IntakeKey:
    """A signed intake key, good for two weeks from noon; suite 1, because it is quick."""
    return sign(
        IntakeKey(
            sector=sector,
            epoch=epoch,
            suite=1,
            public=PUBLIC,
            not_before=NOON - timedelta(hours=1),
            not_after=NOON + timedelta(days=14),
        ),
        VAULT_KEY,
    )


def unwrapped(sector: str, key: DataKeyWrap) -> bytes:
    """The data key that a writer wrapped to `an_intake_key`."""
    return unwrap_at_intake(key.place(sector), 1, PRIVATE, key.wrap)
