"""How a running supervisor is found, asked and stopped from another process: a lock and a state file."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from deploy.local.places import make_directory, write_private
from deploy.local.refusals import CannotRun

LOCK_FILE: Final = "lock"
STATE_FILE: Final = "state.json"
POLL_SECONDS: Final = 0.05
LOOKERS_GONE_SECONDS: Final = 1.0
STOPPED_WITHIN_SECONDS: Final = 20.0


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Holds the data directory; refused while another supervisor does."""
    make_directory(run)
    with (run / LOCK_FILE).open("a+") as lock:
        ends = time.monotonic() + LOOKERS_GONE_SECONDS
        while not _is_taken(lock):  # somebody who only looks holds it for a moment
            if time.monotonic() > ends:
                raise CannotRun("directory_in_use", f"Concert already runs in {run.parent}.")
            time.sleep(POLL_SECONDS)
        yield


def _is_taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_running(run: Path) -> bool:
    """Whether a supervisor holds this data directory."""
    try:
        with (run / LOCK_FILE).open("r+") as lock:
            return not _is_taken(lock)
    except FileNotFoundError:
        return False


def write_state(run: Path, state: Mapping[str, Any]) -> None:
    """Tells others what runs; they never see half of it."""
    write_private(run / STATE_FILE, json.dumps(state, indent=1))


def read_state(run: Path) -> dict[str, Any] | None:
    """What a running supervisor last told, or None where none runs."""
    if not is_running(run):
        return None
    try:
        found: dict[str, Any] = json.loads((run / STATE_FILE).read_text())
    except FileNotFoundError:
        return {"state": "starting", "parts": {}}
    return found


def stop_running(run: Path, within_seconds: float = STOPPED_WITHIN_SECONDS) -> bool:
    """Asks a running supervisor to stop and waits until it has; false where none ran. Blocks."""
    state = read_state(run)
    if not state or "supervisor" not in state:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(state["supervisor"], signal.SIGTERM)
    ends = time.monotonic() + within_seconds
    while is_running(run) or _is_alive(state["supervisor"]):
        if time.monotonic() > ends:
            raise CannotRun("not_stopped", "The supervisor did not stop; see its logs.")
        time.sleep(POLL_SECONDS)
    return True


def is_frozen(pid: int) -> bool:
    """Whether a process was stopped by a signal, and does nothing until another lets it go on."""
    return _kernel_state(pid) in ("T", "t")


def _is_alive(pid: int) -> bool:
    return _kernel_state(pid) not in (None, "Z", "X")


def _kernel_state(pid: int) -> str | None:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return None
