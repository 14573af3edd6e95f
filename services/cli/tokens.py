"""`concert token`: an access token of the local issuer, for a system of an agency and a person behind it."""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from joserfc import jwt
from joserfc.jwk import ECKey

from deploy.local.configuration import load
from deploy.local.installation import Installation
from schemas.ids import KINDS
from schemas.roles import GOVERNANCE_ROLES, ROLES
from schemas.topics import SECTORS
from schemas.wire.topic import source_of
from services.cli.installed import DataDirectory, installed
from services.cli.talk import check_choices
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import define_refusal
from services.runtime.ids import random_bytes

app = typer.Typer()

LIFE_SECONDS: Final = 300
TAKEN_BY: Final = (*SECTORS, "notifications", "governance")
"""The services with a port for agencies or partners."""

Staff = Annotated[str, typer.Option(help="The agency's pseudonym of the person; never a name.")]
Role = Annotated[str, typer.Option(help="The person's role, such as `caseworker`.")]

NotLocal: Final = define_refusal(
    __name__, "not_local", "The local issuer serves mode `local` only; ask this installation's own issuer."
)


class LocalIssuer:
    """The local issuer: signs tokens with the private key of the data directory."""

    def __init__(self, name: str, cell: str, key_file: Path) -> None:
        self.clock: Clock = SystemClock()
        self._name = name
        self._cell = cell
        self._key = ECKey.import_key(json.loads(key_file.read_text()))
        self._held: dict[Sequence[object], tuple[str, datetime]] = {}

    def token(self, *, agency: str, staff: str, role: str, services: Sequence[str] = TAKEN_BY) -> str:
        """An `at+jwt` for these services; it lives five minutes."""
        now = int(self.clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._name,
            "aud": [source_of(self._cell, service) for service in services],
            "iat": now,
            "exp": now + LIFE_SECONDS,
            "jti": random_bytes(16).hex(),
            "sub": staff,
            "act": {"client_id": f"{agency}-system"},
            "agency": agency,
            "role": role,
        }
        header = {"typ": "at+jwt", "alg": "ES384", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=["ES384"])

    def held_token(self, *, agency: str, staff: str, role: str, services: Sequence[str] = TAKEN_BY) -> str:
        """The same token as the last time, until half of its life is over."""
        whose, now = (agency, staff, role, *services), self.clock.now()
        token, until = self._held.get(whose, ("", now))
        if until <= now:
            token = self.token(agency=agency, staff=staff, role=role, services=services)
            self._held[whose] = token, now + timedelta(seconds=LIFE_SECONDS / 2)
        return token


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
    print(local_issuer(installed(data)).token(agency=agency, staff=staff, role=role))


def local_issuer(installation: Installation) -> LocalIssuer:
    """The local issuer of an installation."""
    key_file = installation.secrets.issuer_key_file()
    return LocalIssuer(installation.issuer.name, installation.configuration.cell, key_file)
