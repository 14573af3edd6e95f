"""Programs that are run as children: tied to us, writing to a file, stopped politely and then not."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.local.accounts import Account
from deploy.local.refusals import CannotRun, part_died

TETHER: Final = Path(__file__).with_name("tether.py")
KILLED_AFTER_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02

Say = Callable[[str], None]


def silence(_text: str) -> None:
    """Tells nobody."""


class Child:
    """One running program and the file that its output goes to."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    async def wait(self) -> int:
        """Waits for its end; the exit status, negative for a signal."""
        return await self.process.wait()

    async def stop(self, polite: signal.Signals, within_seconds: float = KILLED_AFTER_SECONDS) -> None:
        """Asks it to end, and ends it if it does not."""
        if not self.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(polite)
        try:
            await asyncio.wait_for(self.process.wait(), within_seconds)
        except TimeoutError:
            self.kill()
            await self.process.wait()

    def kill(self) -> None:
        """Ends it at once, with all of its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def ready(self, answers: Callable[[], Awaitable[bool]], within_seconds: float) -> None:
        """Waits until it answers; refused at once when it ends instead."""
        ends = asyncio.get_running_loop().time() + within_seconds
        while not await answers():
            if not self.is_alive:
                raise part_died(self.name, self.log)
            if asyncio.get_running_loop().time() > ends:
                raise CannotRun(
                    "not_ready", f"{self.name} was not ready within {within_seconds:.0f} seconds."
                )
            await asyncio.sleep(POLL_SECONDS)


async def start_child(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    descriptors: Sequence[int] = (),
    keeps_output: bool = True,
) -> Child:
    """Starts a program in a process group of its own; it dies with us and inherits only `descriptors`.

    The log gets what it says, or only what it complains of.
    """
    who = account or Account(0, 0)
    words = [str(TETHER), str(os.getpid()), str(who.uid), str(who.gid), *(str(word) for word in command)]
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", *words,
            stdin=asyncio.subprocess.DEVNULL, stderr=output,
            stdout=output if keeps_output else asyncio.subprocess.DEVNULL,
            env=plain_environment(environment or {}), cwd=folder or "/", start_new_session=True,
            pass_fds=descriptors,
        )  # fmt: skip
    return Child(name, process, log)


async def run_child(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    account: Account | None = None,
    keeps_output: bool = True,
) -> None:
    """Runs a program to its end; refused if it fails."""
    child = await start_child(name, command, log, account=account, keeps_output=keeps_output)
    try:
        if await child.wait() != 0:
            raise part_died(name, log)
    finally:
        if child.is_alive:
            child.kill()


def plain_environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a part sees: nothing of ours but the path, so that no user's setting changes how it works."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC", **more}


async def port_answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
