"""What a supervisor keeps running: the broker, the database server and each service, alike."""

import asyncio
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from deploy.local import accounts
from deploy.local.children import Child
from deploy.local.fork_server import Order
from deploy.local.forks import Forked, Forks
from deploy.local.installation import Installation
from deploy.local.kafka import Kafka
from deploy.local.ports import HOST
from deploy.local.postgres import Postgres
from deploy.local.processes import Process
from deploy.local.refusals import CannotRun, part_died

READY_WITHIN_SECONDS: Final = 60.0
STOPPED_WITHIN_SECONDS: Final = 7.0
ANSWERED_WITHIN_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.02


class Part(Protocol):
    """One thing that is started, waited for and stopped."""

    name: str
    log: Path
    needs: tuple[str, ...]

    @property
    def pid(self) -> int | None: ...

    async def prepare(self) -> None: ...

    async def start(self) -> None: ...

    async def wait_ready(self) -> None: ...

    async def wait(self) -> int: ...

    async def stop(self) -> None: ...

    def kill(self) -> None: ...


class ServerPart:
    """Kafka or PostgreSQL."""

    def __init__(self, name: str, server: Kafka | Postgres) -> None:
        self.name = name
        self.needs: tuple[str, ...] = ()
        self.log = server.log
        self._server = server

    @property
    def _child(self) -> Child | None:
        return self._server.child

    @property
    def pid(self) -> int | None:
        """Its process, while it lives."""
        return self._child.pid if self._child and self._child.is_alive else None

    async def prepare(self) -> None:
        """Makes its directory once."""
        await self._server.prepare()

    async def start(self) -> None:
        """Starts it."""
        await self._server.start()

    async def wait_ready(self) -> None:
        """Waits until it answers its administrator."""
        await self._server.wait_ready()

    async def wait(self) -> int:
        """Waits for its end."""
        return await self._child.wait() if self._child else 0

    async def stop(self) -> None:
        """Stops it in order."""
        await self._server.stop()

    def kill(self) -> None:
        """Ends it at once."""
        if self._child:
            self._child.kill()


class ServicePart:
    """One process of the table, forked from the fork server."""

    def __init__(
        self,
        process: Process,
        installation: Installation,
        forks: Forks,
        sockets: Mapping[str, socket.socket],
        more: Mapping[str, str],
    ) -> None:
        self.name = process.name
        self.needs = process.needs
        self.log = installation.configuration.logs / f"{process.name}.log"
        self.more = more
        self._process = process
        self._installation = installation
        self._forks = forks
        self._sockets = sockets
        self._forked: Forked | None = None
        self._account = accounts.account_of(accounts.SERVICES)

    @property
    def pid(self) -> int | None:
        """Its process, while it lives."""
        return self._forked.pid if self._forked and self._forked.is_alive else None

    async def prepare(self) -> None:
        """Nothing: what it needs is made by those that it waits for."""

    async def start(self) -> None:
        """Forks it; the sockets are those of its last life, so that nobody is turned away meanwhile."""
        descriptors = {kind: each.fileno() for kind, each in self._sockets.items()}
        named = ",".join(f"{kind}={number}" for kind, number in descriptors.items())
        environment = {
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "CONCERT_SOCKETS": named,
            **self._process.environment(self._installation),
            **self.more,
        }
        process, configuration = self._process, self._installation.configuration
        told = [Path(value) for name, value in environment.items() if name.endswith("_FILE")]
        accounts.let_read(self._account, *(file for file in told if file.parent in configuration.private))
        order = Order(
            self.name,
            process.module,
            process.arguments,
            environment,
            tuple(descriptors.values()),
            str(self.log),
            (self._account.uid, self._account.gid) if self._account else None,
        )
        self._forked = await self._forks.launch(order)

    async def wait_ready(self) -> None:
        """Waits for its own word that it is ready."""
        ends = asyncio.get_running_loop().time() + READY_WITHIN_SECONDS
        while not await self._answers():
            if self.pid is None:
                raise part_died(self.name, self.log)
            if asyncio.get_running_loop().time() > ends:
                raise CannotRun(
                    "not_ready", f"{self.name} was not ready within {READY_WITHIN_SECONDS:.0f} seconds."
                )
            await asyncio.sleep(POLL_SECONDS)

    async def wait(self) -> int:
        """Waits for its end."""
        return await asyncio.shield(self._forked.ended) if self._forked else 0

    async def stop(self) -> None:
        """Asks it to finish, and ends it if it does not."""
        if not self._forked or not self._forked.is_alive:
            return
        self._forked.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.wait(), STOPPED_WITHIN_SECONDS)
        except TimeoutError:
            self.kill()
            await self.wait()

    def kill(self) -> None:
        """Ends it at once."""
        if self._forked:
            self._forked.send(signal.SIGKILL)

    async def _answers(self) -> bool:
        kind = "health" if "health" in self._sockets else "smtp"
        port = self._sockets[kind].getsockname()[1]
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_SECONDS):
                return await _GREETINGS[kind](port)
        except (OSError, TimeoutError):
            return False


async def _is_ready(port: int) -> bool:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.close()


async def greets(port: int) -> bool:
    """Whether a mail server says that it is ready."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        return (await reader.readline()).startswith(b"220")
    finally:
        writer.close()


_GREETINGS: Final = {"health": _is_ready, "smtp": greets}
