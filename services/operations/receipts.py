"""Receipts of plans that have ended: signed here, checked by whoever has the public key."""

import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

from services.operations.domain.plans import Plan, receipt_of

ALGORITHM: Final = "Ed25519"
"""As RFC 9864 names it, which took the place of `EdDSA`."""


class ReceiptKey:
    """The Ed25519 key of one installation's receipts."""

    def __init__(self, seed: bytes, cell: str) -> None:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        self._key = OKPKey.import_key(key, {"use": "sig", "alg": ALGORITHM})
        self._key.ensure_kid()
        self._cell = cell

    def sign(self, plan: Plan) -> str:
        """The receipt, as a compact JWS."""
        header = {"alg": ALGORITHM, "kid": self._key.kid, "typ": "concert-receipt+jws"}
        payload = json.dumps(receipt_of(plan, self._cell), sort_keys=True)
        return jws.serialize_compact(header, payload, self._key, algorithms=[ALGORITHM])

    @property
    def public(self) -> Mapping[str, Any]:
        """What checks them, as a JWK."""
        return dict(self._key.as_dict(private=False))
