"""`concert views reset SERVICE`: empties a view's tables and lets it read its topic from the beginning."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Final

import typer

from deploy.local import control
from deploy.local.installation import Installation
from schemas.topics import VIEWS
from schemas.wire.topic import ViewTopics
from services.cli.installed import READY, DataDirectory, installed
from services.cli.talk import TEMPORARY, check_choices, command, fail, say

app = typer.Typer()

CHANGED_WITHIN_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
NAMES: Final = {view.service: view for view in VIEWS}
DOWN: Final = {"state": "down", "pid": None, "deaths": 0}


@app.command("reset", short_help="Make a view's tables again from its topic.")
def reset(
    service: Annotated[str, typer.Argument(help=f"One of: {', '.join(NAMES)}.")],
    data: DataDirectory = None,
) -> None:
    """Example: `concert views reset referrals`.

    Stops the view, makes its tables on the brokers anew, and lets it read again what its topic still holds.
    Nothing else is touched: the record is in the databases.
    """
    from deploy.local.provisioning import reset_view

    check_choices([service], NAMES, "SERVICE")
    installation, view = installed(data), NAMES[service]
    with held(installation, view) as stopped:
        reset_view(installation, view)
    wait_until(lambda: _is_ready_again(_part(installation, view), stopped), f"{view.user} is not ready yet")
    say(f"The view of {service} was made again. Next: {command('status', data)}.")


@contextmanager
def held(installation: Installation, view: ViewTopics) -> Iterator[int | None]:
    """Stop a view, and keep its next process from reading for as long as the block; gives the last one."""
    with installation.view_hold_file(view.user).open() as hold:
        fcntl.flock(hold, fcntl.LOCK_EX)
        stopped = _part(installation, view).pid
        if stopped:
            with suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGTERM)
            wait_until(lambda: not control.is_alive(stopped), "the view does not stop")
        yield stopped  # the supervisor has started another process, which waits for the lock


def wait_until(happened: Callable[[], bool], otherwise: str) -> None:
    """Wait, and end the command where it takes too long."""
    ends_at = time.monotonic() + CHANGED_WITHIN_SECONDS
    while not happened():
        if time.monotonic() > ends_at:
            fail(f"{otherwise}; see its log, and try again", TEMPORARY)
        time.sleep(POLL_SECONDS)


def _is_ready_again(part: control.PartState, stopped: int | None) -> bool:
    return part.state == READY and part.pid != stopped


def _part(installation: Installation, view: ViewTopics) -> control.PartState:
    told = control.read_state(installation.configuration.run) or {}
    return control.PartState.model_validate(told.get("parts", {}).get(view.user) or DOWN)
