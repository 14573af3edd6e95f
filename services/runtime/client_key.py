"""A client of an issuer of OpenID Connect, and the key by which it proves what it says (RFC 7523)."""

import json
from datetime import datetime
from pathlib import Path
from typing import Final

from joserfc import jwt
from joserfc.jwk import ECKey

from services.runtime.ids import random_bytes
from services.runtime.tokens import ALGORITHM

ASSERTED_BY: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SAID_SECONDS: Final = 60


class ClientKey:
    """What a client says to its issuer, signed by the key that the issuer knows."""

    def __init__(self, issuer: str, client: str, key_file: Path) -> None:
        """`issuer` is its name, which is also the audience."""
        self._issuer = issuer
        self._client = client
        self._key = ECKey.import_key(json.loads(key_file.read_text()))

    def proof(self, now: datetime) -> dict[str, str]:
        """The fields of a form by which it is this client that asks (`private_key_jwt`)."""
        said = self.said(now, sub=self._client)
        return {"client_assertion_type": ASSERTED_BY, "client_assertion": said}

    def said(self, now: datetime, **claims: str) -> str:
        """A statement that is good once, for a minute."""
        at = int(now.timestamp())
        told = {"iss": self._client, "aud": self._issuer, "iat": at, "exp": at + SAID_SECONDS}
        header = {"typ": "JWT", "alg": ALGORITHM, "kid": self._key.kid}
        whole = {**told, "jti": random_bytes(16).hex(), **claims}
        return jwt.encode(header, whole, self._key, algorithms=[ALGORITHM])
