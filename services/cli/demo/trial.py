"""What a run stands on: the platform in a temporary place, twelve agencies, and a system of each."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local import ports
from deploy.local.configuration import trial
from deploy.local.installation import Installation
from deploy.local.processes import usual_ports
from deploy.local.refusals import CannotRun
from deploy.local.supervisor import Platform, running
from services.cli.agency_client import AgencyAccount, AgencyClient
from services.cli.demo.agencies import FictionalAgency, fictional_agencies
from services.cli.tokens import LocalIssuer, local_issuer

MORE: Final = {"notifications": {"CONCERT_SWEEP_EVERY": "PT0.1S"}}
"""An installation sends fifty mails a second at most; the demo does not wait for that."""
WITHIN_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """A platform that runs, and the agencies' systems beside it."""

    platform: Platform
    issuer: LocalIssuer
    agencies: tuple[FictionalAgency, ...]
    clients: Mapping[str, AgencyClient]

    @property
    def installation(self) -> Installation:
        """Ports, secrets and certificates of the platform."""
        return self.platform.installation

    @property
    def unanswered(self) -> int:
        """How many steps of all agencies wait for their answer."""
        return sum(len(client.unanswered) for client in self.clients.values())

    def client(self, agency: AgencyAccount) -> AgencyClient:
        """An agency's system."""
        return self.clients[agency.id]


@asynccontextmanager
async def running_trial(folder: Path, say: Callable[[str], None]) -> AsyncIterator[Trial]:
    """Bring everything up by the code of `concert up`; leaving stops it."""
    configuration = trial(folder, chosen_ports=ports.trial_ports(usual_ports()))
    async with running(configuration, say=say, more=MORE) as platform, AsyncExitStack() as open_clients:
        for refusal in platform.failing.values():
            raise refusal
        issuer = local_issuer(platform.installation)
        agencies = fictional_agencies()
        clients = {}
        for agency in agencies:
            client = AgencyClient(agency, platform.installation.api_url(agency.sector), issuer)
            clients[agency.id] = await open_clients.enter_async_context(client)
        yield Trial(platform, issuer, agencies, clients)


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for something that services do by themselves; refused when it takes too long."""
    ends = time.monotonic() + WITHIN_SECONDS
    while not await holds():
        if time.monotonic() > ends:
            raise CannotRun("not_ready", f"Not within {WITHIN_SECONDS:.0f} seconds: {what}.")
        await asyncio.sleep(POLL_SECONDS)
