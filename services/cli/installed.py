"""The installation that runs in a data directory, as the operator's command sees it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deploy.local import control
from deploy.local.certificates import Certificates
from deploy.local.configuration import Configuration, load
from deploy.local.installation import Installation
from deploy.local.refusals import CannotRun
from deploy.local.secrets import Secrets
from services.cli.talk import command

if TYPE_CHECKING:
    import httpx2

DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Default: ~/.local/state/concert, as root /var/lib/concert.",
    ),
]
READY: Final = "ready"
ANSWER_WITHIN_SECONDS: Final = 30.0


def installed(data: Path | None) -> Installation:
    """What runs there; refused where nothing does."""
    configuration = load(data)
    state = control.read_state(configuration.run)
    if not state:
        start = command("up", data)
        raise CannotRun("not_running", f"Nothing runs in {configuration.data}; start it with {start}.")
    if not state.get("ports"):
        sentence = f"What runs in {configuration.data} has not told its ports; ask again in a moment."
        raise CannotRun("not_ready", f"{sentence} If it stays so: {command('down', data)}, then `up`.")
    return installation_of(configuration, state["ports"])


def installation_of(configuration: Configuration, ports: dict[str, int]) -> Installation:
    """The installation of a data directory with the ports that its supervisor chose."""
    return Installation(
        configuration,
        ports,
        Secrets(configuration.data / "secrets"),
        Certificates(configuration.data / "certificates", configuration.cell),
    )


def operator_client(installation: Installation, service: str) -> "httpx2.AsyncClient":
    """A connection to a service's internal port, with the operator's certificate."""
    from deploy.local.processes import OPERATOR
    from services.runtime.peers import internal_client
    from services.runtime.settings import TlsSettings

    certificates = installation.certificates
    tls = TlsSettings(
        certificate_file=certificates.certificate_file(OPERATOR),
        key_file=certificates.key_file(OPERATOR),
        authority_file=certificates.authority_file,
    )
    return internal_client(
        tls, service, base_url=installation.internal_url(service), seconds=ANSWER_WITHIN_SECONDS
    )
