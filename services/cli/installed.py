"""The installation that runs in a data directory, as the operator's command sees it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from deploy.local import control
from deploy.local.configuration import load
from deploy.local.installation import Installation
from deploy.local.refusals import CannotRun
from services.cli.talk import command

DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Default: ~/.local/state/concert, as root /var/lib/concert.",
    ),
]
READY: Final = "ready"


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
    return Installation(configuration, state["ports"])
