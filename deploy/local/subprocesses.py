"""Programs that are run as subprocesses: tied to us, writing to a file, stopped politely and then not."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.local.accounts import Account
from deploy.local.refusals import part_died

BOUND_PROGRAM: Final = Path(__file__).with_name("bound_program.py")
PLAIN_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "TZ": "UTC"}
"""Of our own environment a part sees the path at most: no user's setting changes how it works."""

Say = Callable[[str], None]


def silence(_text: str) -> None:
    """Tells nobody."""


class Subprocess:
    """One running process in a session of its own; `end` comes true with its exit status, if it is known."""

    def __init__(self, pid: int, end: Awaitable[int | None]) -> None:
        self.pid = pid
        self._end = asyncio.ensure_future(end)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self._end.done()

    async def wait(self) -> int | None:
        """Waits for its end; the exit status, negative for a signal."""
        return await asyncio.shield(self._end)

    async def stop(self, polite: signal.Signals, within_seconds: float) -> None:
        """Asks it to end, and ends it if it does not."""
        if not self.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, polite)
        try:
            await asyncio.wait_for(self.wait(), within_seconds)
        except TimeoutError:
            self.kill()
            await self.wait()

    def kill(self) -> None:
        """Ends it at once, with all of its process group."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


async def start_subprocess(
    command: Sequence[str | Path],
    log: Path,
    *,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    descriptors: Sequence[int] = (),
    keeps_output: bool = True,
) -> Subprocess:
    """Starts a program in a process group of its own; it dies with us and inherits only `descriptors`."""
    who = account or Account(0, 0)
    identity = (os.getpid(), who.uid, who.gid)
    words = [str(word) for word in (BOUND_PROGRAM, *identity, *command)]
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", *words,
            stdin=asyncio.subprocess.DEVNULL, stderr=output,
            stdout=output if keeps_output else asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), **PLAIN_ENVIRONMENT, **(environment or {})},
            cwd=folder or "/", start_new_session=True, pass_fds=descriptors,
        )  # fmt: skip
    return Subprocess(process.pid, process.wait())


async def run_subprocess(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    account: Account | None = None,
    keeps_output: bool = True,
) -> None:
    """Runs a program to its end; refused if it fails."""
    process = await start_subprocess(command, log, account=account, keeps_output=keeps_output)
    try:
        if await process.wait() != 0:
            raise part_died(name, log)
    finally:
        process.kill()


async def port_answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
