"""Access tokens as any issuer with this key would sign them, without one that runs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

from schemas.wire.topic import source_of
from services.runtime.ids import random_bytes
from services.runtime.tokens import ALGORITHM, TYPE

LIFE_SECONDS = 300


def signed_token(
    key_file: Path, issuer: str, cell: str, *, agency: str, staff: str, role: str, services: Sequence[str]
) -> str:
    """A token for these services that lives five minutes."""
    key, now = ECKey.import_key(json.loads(key_file.read_text())), int(datetime.now(UTC).timestamp())
    claims = {
        "iss": issuer, "aud": [source_of(cell, service) for service in services],
        "jti": random_bytes(16).hex(), "iat": now, "exp": now + LIFE_SECONDS,
        "sub": staff, "act": {"client_id": f"{agency}-system"}, "agency": agency, "role": role,
    }  # fmt: skip
    return jwt.encode({"typ": TYPE, "alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])
