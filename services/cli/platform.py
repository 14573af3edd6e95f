"""`concert up`, `down`: the platform and all services on this machine."""

import asyncio
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deploy.local import control
from deploy.local.configuration import Configuration, load
from deploy.local.places import make_directory
from deploy.local.refusals import last_lines
from services.cli.installed import READY, DataDirectory
from services.cli.talk import FAILED, command, say

if TYPE_CHECKING:
    from deploy.local.supervisor import Platform

app = typer.Typer()

READY_WITHIN_SECONDS: Final = 180.0
"""The first start fetches Kafka."""
POLL_SECONDS: Final = 0.1


@app.command("up")
def up(
    data: DataDirectory = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and come back.")] = False,
) -> None:
    """Examples: `concert up`, `concert up --detach`, `concert up --data DIR`.

    Starts brokers, databases and every service, and starts again what dies. A service that cannot live stops
    no other: it is tried again and again, and `concert status` exits 1 meanwhile. Without --detach it stays
    in the foreground until Ctrl-C.
    """
    configuration = load(data)
    if detach:
        _start_detached(configuration, data)
    else:
        from deploy.local.supervisor import serve

        asyncio.run(serve(configuration, on_ready=partial(_tell_ready, data), say=say))


def _tell_ready(data: Path | None, platform: "Platform") -> None:
    installation = platform.installation
    say(f"Concert is ready in {installation.configuration.data}. Agencies' ports:")
    for name, port in sorted(installation.ports.items()):
        if name.endswith("_api"):
            say(f"  {name.removesuffix('_api'):<16} http://127.0.0.1:{port}")
    for name, refusal in platform.failing.items():
        say(f"{name} cannot live and is tried again and again: {refusal.sentence}")
    following = f"{command('status', data)}, `concert token --help`"
    say(f"Next: {following}; stop with {command('down', data)} or Ctrl-C.")


def _start_detached(configuration: Configuration, data: Path | None) -> None:
    make_directory(configuration.data, 0o711)
    log = make_directory(configuration.logs) / "up.log"
    command = [sys.executable, "-m", "services.cli", "up", *(["--data", str(data)] if data else [])]
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    ends = time.monotonic() + READY_WITHIN_SECONDS
    while not _is_ready(configuration, started.pid):
        if started.poll() is not None:
            _repeat(log)
            raise typer.Exit(started.returncode)
        if time.monotonic() > ends:
            started.terminate()
            say("concert: it was not ready in time and was stopped.")
            raise typer.Exit(FAILED)
        time.sleep(POLL_SECONDS)
    _repeat(log)


def _is_ready(configuration: Configuration, supervisor: int) -> bool:
    state = control.read_state(configuration.run) or {}
    return state.get("supervisor") == supervisor and state["state"] == READY


def _repeat(log: Path) -> None:
    for line in last_lines(log):
        say(line)


@app.command("down")
def down(data: DataDirectory = None) -> None:
    """Examples: `concert down`, `concert down --data DIR`.

    Stops every service in order, then brokers and databases.
    """
    configuration = load(data)
    if control.stop_running(configuration.run):
        say(f"Stopped what ran in {configuration.data}. Next: {command('up', data)}.")
    else:
        say(f"Nothing ran in {configuration.data}.")
