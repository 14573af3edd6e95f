"""The supervisor's end of the fork server: an order goes out, a process id and one day its end come back."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from deploy.local.fork_server import Order
from deploy.local.refusals import CannotRun
from deploy.local.subprocesses import Subprocess, start_subprocess

REPOSITORY: Final = Path(__file__).resolve().parents[2]


class ForkServer:
    """Starts the fork server when it is needed, and again if it was killed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._server: Subprocess | None = None
        self._control: socket.socket | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The server's process, while it lives."""
        return self._server.pid if self._server and self._server.is_alive else None

    async def start(self) -> None:
        """Starts the server unless it runs, so that it imports meanwhile."""
        async with self._one_at_a_time:
            await self._started()

    async def fork(self, order: Order, sockets: Iterable[socket.socket]) -> Subprocess:
        """Starts one process."""
        async with self._one_at_a_time:
            control = await self._started()
            # The process writes its number and keeps the pipe open for as long as it lives.
            told, tells = os.pipe()
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(told, "rb", buffering=0)
            )
            try:
                line = json.dumps(asdict(order)).encode() + b"\n"
                socket.send_fds(control, [line], [tells, *(each.fileno() for each in sockets)])
            finally:
                os.close(tells)
            pid = await reader.readline()
        if not pid:
            raise CannotRun("part_died", "The fork server ended unexpectedly.")
        return Subprocess(int(pid), _end_of(reader))

    async def stop(self) -> None:
        """Ends the server, also one that a signal stopped; whatever it started must have ended before."""
        if self._control:
            self._control.close()
        if self._server:
            self._server.kill()
            await self._server.wait()

    async def _started(self) -> socket.socket:
        if self._control and self.pid:
            return self._control
        if self._control:
            self._control.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._server = await start_subprocess(
                [sys.executable, "-m", "deploy.local.fork_server", str(theirs.fileno())],
                self._log,
                environment={"PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"},
                descriptors=(theirs.fileno(),),
            )
        return self._control


async def _end_of(reader: asyncio.StreamReader) -> None:
    await reader.read()
