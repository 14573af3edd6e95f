"""Access tokens for a system that names the person behind it, asked of the issuer (RFC 7523)."""

import json
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

from services.runtime.clock import Clock, SystemClock
from services.runtime.consoles.open_id import ASSERTED_BY
from services.runtime.errors import define_refusal
from services.runtime.ids import random_bytes
from services.runtime.tokens import ALGORITHM

FOR_STAFF: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SAID_SECONDS: Final = 60
HELD_FOR: Final = timedelta(seconds=150)
"""Half of a token's life."""
ANSWERED_WITHIN_SECONDS: Final = 10.0
_CLEAR: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, for the issuer answers in the clear on loopback; making one costs more than a token."""

TokenRefused: Final = define_refusal(
    __name__,
    "token_refused",
    "The local issuer refused; it runs with other keys than this installation's.",
)


class TokenClient:
    """What agencies' systems are to the local issuer: one with a key, who names the person behind it."""

    def __init__(self, issuer: str, client: str, key_file: Path, services: Sequence[str]) -> None:
        """Its tokens are for these services, unless it asks for others."""
        self.clock: Clock = SystemClock()
        self._issuer = issuer
        self._client = client
        self._services = services
        self._key = ECKey.import_key(json.loads(key_file.read_text()))
        self._held: dict[Sequence[object], tuple[str, datetime]] = {}

    async def token(self, *, agency: str, staff: str, role: str, services: Sequence[str] = ()) -> str:
        """An `at+jwt` for these services, which lives five minutes; raises httpx2.TransportError."""
        form = {
            "grant_type": FOR_STAFF,
            "client_assertion_type": ASSERTED_BY,
            "client_assertion": self._said(sub=self._client),
            "assertion": self._said(sub=staff, agency=agency, role=role),
            "scope": " ".join(services or self._services),
        }
        within = ANSWERED_WITHIN_SECONDS
        async with httpx2.AsyncClient(timeout=within, trust_env=False, verify=_CLEAR) as http:
            answer = await http.post(f"{self._issuer}/token", data=form)
        if not answer.is_success:
            raise TokenRefused
        return str(answer.json()["access_token"])

    async def held_token(self, *, agency: str, staff: str, role: str, services: Sequence[str] = ()) -> str:
        """The same token as the last time, until half of its life is over."""
        whose, now = (agency, staff, role, *services), self.clock.now()
        token, until = self._held.get(whose, ("", now))
        if until <= now:
            token = await self.token(agency=agency, staff=staff, role=role, services=services)
            self._held[whose] = token, now + HELD_FOR
        return token

    def _said(self, **claims: str) -> str:
        """A statement that is good once, by this key."""
        now = int(self.clock.now().timestamp())
        told = {"iss": self._client, "aud": self._issuer, "iat": now, "exp": now + SAID_SECONDS}
        header = {"typ": "JWT", "alg": ALGORITHM, "kid": self._key.kid}
        whole = {**told, "jti": random_bytes(16).hex(), **claims}
        return jwt.encode(header, whole, self._key, algorithms=[ALGORITHM])
