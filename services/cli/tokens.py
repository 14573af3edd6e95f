"""`concert token`: an access token of the local issuer, for a system of an agency and a person behind it."""

import asyncio
import json
import re
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import httpx2
import typer
from joserfc import jwt
from joserfc.jwk import ECKey

from deploy.local.configuration import load
from deploy.local.installation import Installation
from deploy.local.issuer.app import FOR_STAFF, LIFE
from deploy.local.issuer.clients import COMMAND
from schemas.ids import KINDS
from schemas.roles import GOVERNANCE_ROLES, ROLES
from schemas.topics import SECTORS
from services.cli.installed import DataDirectory, installed
from services.cli.talk import check_choices
from services.runtime.clock import Clock, SystemClock
from services.runtime.consoles.open_id import ASSERTED_BY
from services.runtime.errors import Unavailable, define_refusal
from services.runtime.ids import random_bytes
from services.runtime.tokens import ALGORITHM

app = typer.Typer()

SAID_SECONDS: Final = 60
ANSWERED_WITHIN_SECONDS: Final = 10.0
_CLEAR: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, for the issuer answers in the clear on loopback; making one costs more than a token."""
TAKEN_BY: Final = (*SECTORS, "notifications", "governance")
"""The services with a port for agencies or partners."""

Staff = Annotated[str, typer.Option(help="The agency's pseudonym of the person; never a name.")]
Role = Annotated[str, typer.Option(help="The person's role, such as `caseworker`.")]

NotLocal: Final = define_refusal(
    __name__, "not_local", "The local issuer serves mode `local` only; ask this installation's own issuer."
)

TokenRefused: Final = define_refusal(
    __name__,
    "token_refused",
    "The local issuer refused; it runs with other keys than this installation's.",
)


class TokenClient:
    """What agencies' systems are to the local issuer: one with a key, who names the person behind it."""

    def __init__(self, issuer: str, key_file: Path) -> None:
        self.clock: Clock = SystemClock()
        self._issuer = issuer
        self._key = ECKey.import_key(json.loads(key_file.read_text()))
        self._held: dict[Sequence[object], tuple[str, datetime]] = {}

    async def token(self, *, agency: str, staff: str, role: str, services: Sequence[str] = TAKEN_BY) -> str:
        """An `at+jwt` for these services, which lives five minutes; raises httpx2.TransportError."""
        form = {
            "grant_type": FOR_STAFF,
            "client_assertion_type": ASSERTED_BY,
            "client_assertion": self._said(sub=COMMAND),
            "assertion": self._said(sub=staff, agency=agency, role=role),
            "scope": " ".join(services),
        }
        within = ANSWERED_WITHIN_SECONDS
        async with httpx2.AsyncClient(timeout=within, trust_env=False, verify=_CLEAR) as http:
            answer = await http.post(f"{self._issuer}/token", data=form)
        if not answer.is_success:
            raise TokenRefused
        return str(answer.json()["access_token"])

    async def held_token(
        self, *, agency: str, staff: str, role: str, services: Sequence[str] = TAKEN_BY
    ) -> str:
        """The same token as the last time, until half of its life is over."""
        whose, now = (agency, staff, role, *services), self.clock.now()
        token, until = self._held.get(whose, ("", now))
        if until <= now:
            token = await self.token(agency=agency, staff=staff, role=role, services=services)
            self._held[whose] = token, now + LIFE / 2
        return token

    def _said(self, **claims: str) -> str:
        """A statement that is good once, by this key."""
        now = int(self.clock.now().timestamp())
        told = {"iss": COMMAND, "aud": self._issuer, "iat": now, "exp": now + SAID_SECONDS}
        header = {"typ": "JWT", "alg": ALGORITHM, "kid": self._key.kid}
        whole = {**told, "jti": random_bytes(16).hex(), **claims}
        return jwt.encode(header, whole, self._key, algorithms=[ALGORITHM])


@app.command("token")
def token(
    agency: Annotated[str, typer.Option(help="Agency id, as admitted by governance.")],
    staff: Staff,
    role: Role,
    data: DataDirectory = None,
) -> None:
    """Example: `concert token --agency harbour-clinic --staff s-17 --role nurse`.

    Prints a token that lives five minutes; send it as `Authorization: Bearer …`.
    """
    if not re.fullmatch(KINDS["agency"].pattern, agency):
        raise typer.BadParameter("it has lower-case letters, digits and hyphens", param_hint="--agency")
    check_choices([role], sorted({*ROLES, *GOVERNANCE_ROLES}), "--role")
    if load(data).mode != "local":
        raise NotLocal
    print(local_token(installed(data), agency=agency, staff=staff, role=role))


def token_client(installation: Installation) -> TokenClient:
    """The systems of all agencies of an installation of mode `local`."""
    return TokenClient(installation.issuer.name, installation.secrets.client_key_file(COMMAND))


def local_token(installation: Installation, *, agency: str, staff: str, role: str) -> str:
    """A token for a command; an issuer that does not answer ends it."""
    try:
        return asyncio.run(token_client(installation).token(agency=agency, staff=staff, role=role))
    except httpx2.TransportError:
        raise Unavailable("the local issuer does not answer; see `concert status`") from None
