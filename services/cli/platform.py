"""`concert up`, `scale`, `down`: the platform and all services on this machine."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deploy.local import control
from deploy.local.configuration import Configuration, load
from deploy.local.founding import SIGNS_ITSELF
from deploy.local.places import make_directory
from deploy.local.processes import check_scale, part_name
from services.cli.installed import READY, DataDirectory, installed
from services.cli.scale import Scale, scale_of, scaled
from services.cli.talk import FAILED, INTERRUPTED, command, say

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
    scale: Scale = None,
) -> None:
    """Examples: `concert up`, `concert up --detach`, `concert up --data DIR`, `concert up --scale health=2`.

    Starts brokers, databases and every service, and starts again what dies. A service that cannot live stops
    no other: it is tried again and again, and `concert status` exits 1 meanwhile. Without --detach it stays
    in the foreground until Ctrl-C.
    """
    configuration = scaled(load(data), scale)
    if detach:
        _start_detached(configuration, data, scale or ())
    else:
        from deploy.local.supervisor import serve

        if not asyncio.run(serve(configuration, on_ready=partial(_tell_ready, data), say=say)):
            raise KeyboardInterrupt  # everything was stopped in order, before it was ready


def _tell_ready(data: Path | None, platform: "Platform") -> None:
    installation = platform.installation
    say(f"Concert is ready in {installation.configuration.data}. Agencies' ports:")
    for name, port in sorted(installation.ports.items()):
        if name.endswith("_api"):
            say(f"  {name.removesuffix('_api'):<16} http://127.0.0.1:{port}")
    if installation.holders:
        say(SIGNS_ITSELF)
    for name, refusal in platform.failing.items():
        say(f"{name} cannot live and is tried again and again: {refusal.sentence}")
    following = f"{command('status', data)}, `concert token --help`"
    say(f"Next: {following}; stop with {command('down', data)} or Ctrl-C.")


def _start_detached(configuration: Configuration, data: Path | None, scale: Sequence[str]) -> None:
    make_directory(configuration.data, 0o711)
    log = make_directory(configuration.logs) / "up.log"
    words = [sys.executable, "-m", "services.cli", "up", *(["--data", str(data)] if data else [])]
    words += [f"--scale={one}" for one in scale]
    # Not emptied: whether another `up` runs that writes to it, only the new one finds out.
    with log.open("ab") as output:
        start = output.tell()
        started = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _wait_until_ready(configuration, started)
    except BaseException:
        started.terminate()
        started.wait()
        raise
    finally:
        for line in log.read_bytes()[start:].decode("utf-8", "replace").splitlines():
            say(line)


def _wait_until_ready(configuration: Configuration, started: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + READY_WITHIN_SECONDS
    while not _is_ready(configuration, started.pid):
        if started.poll() is not None:
            # Whoever stopped it after it was ready ended it with 0; yet nothing is left running.
            raise typer.Exit(started.returncode or INTERRUPTED)
        if time.monotonic() > ends:
            say("concert: it was not ready in time and was stopped.")
            raise typer.Exit(FAILED)
        time.sleep(POLL_SECONDS)


def _is_ready(configuration: Configuration, supervisor: int) -> bool:
    state = control.read_state(configuration.run) or {}
    return state.get("supervisor") == supervisor and state["state"] == READY


@app.command("scale")
def scale_running(
    scale: Annotated[list[str], typer.Argument(metavar="SERVICE=N...", help="How many are to run.")],
    data: DataDirectory = None,
) -> None:
    """Examples: `concert scale health=2`, `concert scale health=1 referrals=3`.

    Starts or stops processes of services that run, and remembers it for the next start. They share partitions
    and ports; nothing is lost or done twice meanwhile.
    """
    configuration = installed(data).configuration
    asked = scale_of(scale)
    check_scale(configuration.model_copy(update={"scale": asked}))
    with control.alone(configuration.run, "scale"):
        control.ask_scale(configuration.run, asked)
        ends = time.monotonic() + READY_WITHIN_SECONDS
        while not _is_scaled(control.read_state(configuration.run) or {}, asked):
            if time.monotonic() > ends:
                say(f"concert: it is not done yet; see {command('status', data)}.")
                raise typer.Exit(FAILED)
            time.sleep(POLL_SECONDS)
    say(f"Next: {command('status', data)}.")


def _is_scaled(state: Mapping[str, Any], asked: Mapping[str, int]) -> bool:
    parts = state.get("parts", {})
    more = {part_name(service, count + 1) for service, count in asked.items()}
    wanted = {
        part_name(service, number) for service, count in asked.items() for number in range(1, count + 1)
    }
    return not more & parts.keys() and all(parts.get(name, {}).get("state") == READY for name in wanted)


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
