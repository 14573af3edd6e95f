"""The one place where services draw randomness; the kinds of id stand in `schemas.ids`."""

import secrets

from schemas.ids import make


def new_id(kind: str) -> str:
    """A new random id of a kind in `schemas.ids.KINDS`."""
    return make(kind, secrets.token_bytes(16))


def random_bytes(count: int) -> bytes:
    """Bytes from the system's generator, for nonces, salts and keys."""
    return secrets.token_bytes(count)
