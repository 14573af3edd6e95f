"""How a running supervisor is found, asked and stopped from another process: a lock and a state file."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from deploy.local.places import make_directory, write_private
from deploy.local.refusals import CannotRun

LOCK_FILE: Final = "lock"
STATE_FILE: Final = "state.json"
SCALE_FILE: Final = "scale.json"
SCALE_SIGNAL: Final = signal.SIGUSR1
POLL_SECONDS: Final = 0.05
LOOKERS_GONE_SECONDS: Final = 1.0
STOPPED_WITHIN_SECONDS: Final = 20.0
PID_MAX: Final = 1 << 22

_SCALE: Final = TypeAdapter(dict[str, int])
Pid = Annotated[int, Field(ge=1, le=PID_MAX)]


class PartState(BaseModel):
    """What others use of a part's state."""

    model_config = ConfigDict(strict=True)

    state: str
    pid: Pid | None
    deaths: int


class PlatformState(BaseModel):
    """What others use of the state file; more may stand in it."""

    model_config = ConfigDict(strict=True)

    state: Literal["starting", "ready", "stopping"] = "starting"
    fork_server: Pid | None = None
    ports: dict[str, Annotated[int, Field(ge=1, le=65_535)]] = {}
    parts: dict[str, PartState] = {}
    scale: dict[str, int] = {}


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Holds the data directory; refused while another supervisor does."""
    make_directory(run)
    with (run / LOCK_FILE).open("a+") as lock:
        ends = time.monotonic() + LOOKERS_GONE_SECONDS
        while not _take(lock):  # somebody who only looks holds it for a moment
            if time.monotonic() > ends:
                raise CannotRun("directory_in_use", f"Concert already runs in {run.parent}.")
            time.sleep(POLL_SECONDS)
        # What the last supervisor told is not true of this one.
        (run / STATE_FILE).unlink(missing_ok=True)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def alone(run: Path, work: str) -> Iterator[None]:
    """Lets nobody else do the same work on this data directory meanwhile; refused where somebody does."""
    with (make_directory(run) / f"{work}.lock").open("a+") as lock:
        if not _take(lock):
            sentence = f"Another `concert {work}` is under way in {run.parent}; ask again once it has ended."
            raise CannotRun("under_way", sentence)
        yield


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_running(run: Path) -> bool:
    """Whether a supervisor holds this data directory."""
    try:
        with (run / LOCK_FILE).open("r+") as lock:
            return not _take(lock)
    except FileNotFoundError:
        return False


def write_state(run: Path, state: Mapping[str, Any]) -> None:
    """Tells others what runs; they never see half of it, and none after a power cut."""
    write_private(run / STATE_FILE, json.dumps(state, indent=1), durably=False)


def read_state(run: Path) -> dict[str, Any] | None:
    """What a running supervisor last told, or None where none runs.

    One that told nothing yet, or nothing that can be read, is starting; its process is known by its lock.
    """
    if not is_running(run):
        return None
    told: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValidationError):
        content = (run / STATE_FILE).read_bytes()
        PlatformState.model_validate_json(content)
        told = json.loads(content)
    return {"state": "starting", "parts": {}} | told | {"supervisor": _holder(run)}


def _holder(run: Path) -> int | None:
    """The process that the lock names, or None where somebody emptied it."""
    written = (run / LOCK_FILE).read_bytes()
    return int(written) if written.isdigit() and 0 < int(written) <= PID_MAX else None


def stop_running(run: Path) -> bool:
    """Asks a running supervisor to stop and waits until it has; false where none ran. Blocks."""
    if not is_running(run):
        return False
    supervisor = _holder(run)
    if supervisor is None:
        sentence = f"Concert runs in {run.parent}, its process is not known; end `concert up` (kill PID)."
        raise CannotRun("not_stopped", sentence)
    if is_frozen(supervisor):
        sentence = f"The supervisor is stopped by a signal; let it go on (kill -CONT {supervisor})."
        raise CannotRun("not_stopped", sentence)
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGTERM)
    ends = time.monotonic() + STOPPED_WITHIN_SECONDS
    while is_running(run) or is_alive(supervisor):
        if time.monotonic() > ends:
            raise CannotRun("not_stopped", "The supervisor did not stop; see its logs.")
        time.sleep(POLL_SECONDS)
    return True


def ask_scale(run: Path, scale: Mapping[str, int]) -> None:
    """Asks a running supervisor for other numbers of processes; it tells in its state what it has done."""
    write_private(run / SCALE_FILE, json.dumps(dict(scale)), durably=False)
    supervisor = _holder(run)
    if supervisor is None or is_frozen(supervisor):
        raise CannotRun("not_ready", "The supervisor does not answer; see `concert status`.")
    os.kill(supervisor, SCALE_SIGNAL)


def asked_scale(run: Path) -> dict[str, int]:
    """What a supervisor was asked for."""
    return _SCALE.validate_json((run / SCALE_FILE).read_bytes())


def kill_all(pids: Sequence[int], within_seconds: float) -> None:
    """Ends parts at once, which the supervisor starts again, and waits until they are gone. Blocks."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ends = time.monotonic() + within_seconds
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > ends:
            raise CannotRun("not_stopped", "A part did not end; see its log.")
        time.sleep(POLL_SECONDS)


def is_frozen(pid: int) -> bool:
    """Whether a process was stopped by a signal, and does nothing until another lets it go on."""
    return _kernel_state(pid) in ("T", "t")


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs, however little it does."""
    return _kernel_state(pid) not in (None, "Z", "X")


def _kernel_state(pid: int) -> str | None:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
