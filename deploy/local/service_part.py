"""One process of the table as a part: forked with its sockets, ready by its own word."""

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local import accounts
from deploy.local.fork_client import ForkServer
from deploy.local.fork_server import Order
from deploy.local.installation import Installation
from deploy.local.parts import Part
from deploy.local.ports import HOST, listen
from deploy.local.processes import Process, part_name
from deploy.local.subprocesses import PLAIN_ENVIRONMENT

ANSWERED_WITHIN_SECONDS: Final = 2.0
READY: Final = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class ServicePart(Part):
    """One process of the table, forked from the fork server."""

    stopped_within_seconds = 7.0

    def __init__(
        self,
        process: Process,
        installation: Installation,
        fork_server: ForkServer,
        more: Mapping[str, str],
        *,
        number: int = 1,
        first: "ServicePart | None" = None,
    ) -> None:
        """`first` is the service's first process, whose ports all share but the probes'."""
        name = part_name(process.name, number)
        super().__init__(name, installation.configuration.logs / f"{name}.log")
        self.service = process.name
        self._number = number
        self.needs = process.needs
        self._more = more
        self._row = process
        self._installation = installation
        is_ours = process.module.startswith("services.") and "health" in process.ports
        self.scraped_port = installation.ports[process.port("health", number)] if is_ours else None
        """Where it shows its figures; a vault and what is no service of ours show none.

        Kept, for a process that is about to be taken away has no port among those of the installation.
        """
        self._fork_server = fork_server
        shared: dict[str, socket.socket] = first._sockets if first else {}
        own = {
            kind: listen(installation.ports[process.port(kind, number)])
            for kind in process.ports
            if kind == "health" or not first
        }
        self._sockets: dict[str, socket.socket] = {**shared, **own}
        self._own = tuple(own.values())
        self._account = accounts.account_of(accounts.SERVICES)

    def close(self) -> None:
        """Gives up its own ports, once it has stopped for good."""
        for each in self._own:
            each.close()

    async def prepare(self) -> None:
        """Nothing: what it needs is made by those that it waits for."""

    async def start(self) -> None:
        """Forks it; the sockets are those of its last life, so that nobody is turned away meanwhile."""
        row, sockets = self._row, tuple(self._sockets)
        environment = {**PLAIN_ENVIRONMENT, **row.environment(self._installation, self._number), **self._more}
        private = self._installation.secrets.folder, self._installation.certificates.folder
        told = [Path(value) for name, value in environment.items() if name.endswith("_FILE")]
        accounts.let_read(self._account, *(file for file in told if file.parent in private))
        order = Order(
            self.name, row.module, row.arguments, environment, sockets, str(self.log), self._account
        )
        self.process = await self._fork_server.fork(order, self._sockets.values())

    async def answers(self) -> bool:
        """Whether it says itself that it is ready."""
        numbers = {kind: each.getsockname()[1] for kind, each in self._sockets.items()}
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_SECONDS):
                if not numbers:
                    return await listens(self._installation.vault_socket(self.name))
                if "smtp" in numbers:
                    return await greets(numbers["smtp"])
                return b" 200 " in await _first_line(numbers["health"], READY)
        except (OSError, TimeoutError):
            return False


async def greets(port: int) -> bool:
    """Whether a mail server says that it is ready."""
    return (await _first_line(port)).startswith(b"220")


async def listens(path: Path) -> bool:
    """Whether somebody takes connections on a Unix socket, whose path may be too long for the system."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        _, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    writer.close()
    return True


async def _first_line(port: int, question: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(question)
        return await reader.readline()
    finally:
        writer.close()
