"""Three holders of governance's keys, who sign what these tests publish."""

import json
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.events.governance_keys import GovernanceKeys, Signable, kid_of, sign
from schemas.wire.public_keys import written

HOLDERS: Final = tuple(Ed25519PrivateKey.from_private_bytes(bytes([holder]) * 32) for holder in (1, 2, 3))
STRANGER_TO_ALL: Final = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
PUBLIC: Final = {kid_of(key): key for key in (one.public_key().public_bytes_raw() for one in HOLDERS)}
KEYS_TEXT: Final = json.dumps({kid: written(key) for kid, key in PUBLIC.items()}).encode()
KEYS: Final = GovernanceKeys.read(KEYS_TEXT)


def signed(body: Signable, *holders: Ed25519PrivateKey) -> Signable:
    """The document with these holders' signatures and no others; by default those of the first two."""
    body = body.model_copy(update={"signatures": ()})
    for holder in holders or HOLDERS[:2]:
        body = sign(body, holder)
    return body
