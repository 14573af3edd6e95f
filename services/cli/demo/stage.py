"""Everything that a run stands on: the platform in a temporary place, twelve agencies, their clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local import ports
from deploy.local.configuration import trial
from deploy.local.installation import Installation
from deploy.local.processes import usual_ports
from deploy.local.supervisor import Platform, running
from services.cli.demo.agencies import Agency, agencies_of
from services.cli.demo.book import Book
from services.cli.demo.clients import Client
from services.cli.tokens import Issuer

Say = Callable[[str], None]

MORE: Final = {"notifications": {"CONCERT_SWEEP_EVERY": "PT0.1S"}}
"""An installation sends fifty mails a second at most; the demo does not wait for that."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A platform that runs, and the agencies' systems beside it."""

    platform: Platform
    issuer: Issuer
    agencies: tuple[Agency, ...]
    clients: Mapping[str, Client]
    book: Book

    @property
    def installation(self) -> Installation:
        """Ports, secrets and certificates of the platform."""
        return self.platform.installation

    def client(self, agency: Agency) -> Client:
        """An agency's system."""
        return self.clients[agency.id]


@asynccontextmanager
async def staged(folder: Path, say: Say) -> AsyncIterator[Stage]:
    """Bring everything up by the code of `concert up`; leaving stops it."""
    configuration = trial(folder, chosen_ports=ports.usual_none(usual_ports()))
    async with running(configuration, say=say, more=MORE) as platform, AsyncExitStack() as open_clients:
        for refusal in platform.failing.values():
            raise refusal
        installation = platform.installation
        issuer = Issuer(
            installation.issuer_name, installation.configuration.cell, installation.secrets.issuer_key_file()
        )
        book = Book()
        agencies = agencies_of()
        clients = {}
        for agency in agencies:
            client = Client(agency, installation.api_url(agency.sector), issuer, book)
            open_clients.push_async_callback(client.close)
            clients[agency.id] = client
        yield Stage(platform, issuer, agencies, clients, book)


@asynccontextmanager
async def listening(clients: Sequence[Client]) -> AsyncIterator[None]:
    """Every agency follows its feed for as long as the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.listen()) for client in clients]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
