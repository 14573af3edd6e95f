"""Access tokens for a system that names the person behind it, asked of the issuer (RFC 7523)."""

import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx2

from services.runtime.client_key import ClientKey
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import define_refusal

FOR_STAFF: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
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
        self._services = services
        self._key = ClientKey(issuer, client, key_file)
        self._held: dict[Sequence[object], tuple[str, datetime]] = {}

    async def token(self, *, agency: str, staff: str, role: str, services: Sequence[str] = ()) -> str:
        """An `at+jwt` for these services, which lives five minutes; raises httpx2.TransportError."""
        now = self.clock.now()
        form = {
            "grant_type": FOR_STAFF,
            "assertion": self._key.said(now, sub=staff, agency=agency, role=role),
            "scope": " ".join(services or self._services),
            **self._key.proof(now),
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
