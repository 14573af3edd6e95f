"""`concert token`: an access token of the local issuer, for a system of an agency and a person behind it."""

import asyncio
import re
from typing import Annotated, Final

import httpx2
import typer

from deploy.local.configuration import load
from deploy.local.installation import Installation
from deploy.local.issuer.clients import COMMAND
from schemas.ids import KINDS
from schemas.roles import GOVERNANCE_ROLES, ROLES
from schemas.topics import SECTORS
from services.cli.installed import DataDirectory, installed
from services.cli.talk import check_choices
from services.runtime.errors import Unavailable, define_refusal
from services.runtime.token_client import TokenClient

app = typer.Typer()

TAKEN_BY: Final = (*SECTORS, "notifications", "governance")
"""The services with a port for agencies or partners."""

Staff = Annotated[str, typer.Option(help="The agency's pseudonym of the person; never a name.")]
Role = Annotated[str, typer.Option(help="The person's role, such as `caseworker`.")]

NotLocal: Final = define_refusal(
    __name__, "not_local", "The local issuer serves mode `local` only; ask this installation's own issuer."
)


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
    key_file = installation.secrets.client_key_file(COMMAND)
    return TokenClient(installation.issuer.name, COMMAND, key_file, TAKEN_BY)


def local_token(installation: Installation, *, agency: str, staff: str, role: str) -> str:
    """A token for a command; an issuer that does not answer ends it."""
    try:
        return asyncio.run(token_client(installation).token(agency=agency, staff=staff, role=role))
    except httpx2.TransportError:
        raise Unavailable("the local issuer does not answer; see `concert status`") from None
