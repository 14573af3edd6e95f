"""The supervisor's end of the fork server: orders go out, process ids and deaths come back."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local.children import Child, start_child
from deploy.local.fork_server import Order
from deploy.local.refusals import CannotRun

REPOSITORY: Final = Path(__file__).resolve().parents[2]
GONE: Final = -int(signal.SIGKILL)
"""The status of processes that died with the fork server."""


class Forked:
    """One process of the fork server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been told."""
        return not self.ended.done()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Forks:
    """Starts the fork server when it is needed, and again if it was killed."""

    def __init__(self, log: Path, descriptors: Sequence[int]) -> None:
        self._log = log
        self._descriptors = tuple(descriptors)
        self._server: Child | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._asked: dict[str, asyncio.Future[Forked]] = {}
        self._running: dict[int, Forked] = {}

    @property
    def pid(self) -> int | None:
        """The server's process, while it lives."""
        return self._server.pid if self._server and self._server.is_alive else None

    async def start(self) -> None:
        """Starts the server unless it runs."""
        async with self._starting:
            if self._listening and not self._listening.done():  # its end may not have been waited for yet
                return
            ours, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-m", "deploy.local.fork_server", str(theirs.fileno())]
                self._server = await start_child(
                    "The fork server",
                    [*command, *map(str, self._descriptors)],
                    self._log,
                    environment={"PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"},
                    descriptors=(theirs.fileno(), *self._descriptors),
                )
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._listening = asyncio.create_task(self._listen(reader))

    async def launch(self, order: Order) -> Forked:
        """Starts one process."""
        await self.start()
        answer: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._asked[order.name] = answer
        if not self._writer:
            raise CannotRun("part_died", "The fork server ended unexpectedly.")
        self._writer.write(order.line())
        return await answer

    def let_go_on(self) -> None:
        """Wakes a server that a signal stopped: it alone tells the ends of what it started."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)

    async def stop(self) -> None:
        """Ends the server; whatever it started must have ended before."""
        if self._writer:
            self._writer.close()
        if self._server:
            await self._server.stop(signal.SIGTERM)
        if self._listening:
            await self._listening

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._hear(json.loads(line))
        # The server's end is the end of all that it started.
        if self._writer:
            self._writer.close()
        for forked in self._running.values():
            forked.ended.set_result(GONE)
        for answer in (each for each in self._asked.values() if not each.done()):
            answer.set_exception(CannotRun("part_died", "The fork server ended unexpectedly."))
        self._running, self._asked = {}, {}

    def _hear(self, told: dict[str, Any]) -> None:
        if "started" in told:
            forked = self._running[told["pid"]] = Forked(told["pid"])
            answer = self._asked.pop(told["started"])
            if not answer.cancelled():
                answer.set_result(forked)
        elif forked_ended := self._running.pop(told["ended"], None):
            forked_ended.ended.set_result(told["status"])
