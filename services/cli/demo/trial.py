"""What a run stands on: the platform in a temporary place, and thirteen agencies that governance admitted."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic_core import to_json

import deploy.local
from deploy.local import ports
from deploy.local.configuration import trial
from deploy.local.founding import SIGNS_ITSELF, operator_client, signed_by_two
from deploy.local.installation import Installation
from deploy.local.processes import NOTHING_SCALED, usual_ports
from deploy.local.refusals import CannotRun
from deploy.local.supervisor import Platform, running
from schemas.events.governance import TIMERS as PROTOCOL_TIMERS
from schemas.events.governance import URGENCIES
from services.cli.agency_client import DESK, AgencyAccount, AgencyClient
from services.cli.demo.agencies import DIRECTORY, fictional_agencies
from services.cli.demo.partners import partnership
from services.cli.demo.pulls import PullBook
from services.cli.directory import ImportReport, import_directory
from services.cli.governance_keys import read_document
from services.cli.tokens import token_client
from services.runtime.clock import SystemClock
from services.runtime.token_client import TokenClient

PROTOCOL: Final = Path(deploy.local.__file__).with_name("protocol.json")
MORE: Final = {
    "notifications": {"CONCERT_SWEEP_EVERY": "PT0.1S"},
    "governance": {"CONCERT_PROTOCOL_DELAY_SECONDS": "0", "CONCERT_RELEASE_FREEZE_DAYS": "-31"},
}
"""An installation sends fifty mails a second, lets a protocol wait a day, releases no month before its end.

The demo waits for none of it.
"""
_KNOWN: Final = "SELECT (SELECT count(*) FROM agency) >= $1 AND EXISTS (SELECT FROM protocol)"
WITHIN_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.05
TIMERS: Final = {timer: dict.fromkeys(URGENCIES, 600) for timer in PROTOCOL_TIMERS} | {
    "acknowledge": {"critical": 3, "urgent": 4, "priority": 600, "routine": 600},
    "answer": {"critical": 6, "urgent": 600, "priority": 600, "routine": 600},
    "seal": dict.fromkeys(URGENCIES, 60),
}
"""Seconds of the demo's protocol: the clock is never moved, the protocol is short."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A platform that runs, and the agencies' systems beside it."""

    platform: Platform
    issuer: TokenClient
    agencies: tuple[AgencyAccount, ...]
    clients: Mapping[str, AgencyClient]
    pulls: PullBook

    @property
    def installation(self) -> Installation:
        """Ports, secrets and certificates of the platform."""
        return self.platform.installation

    @property
    def unanswered(self) -> int:
        """How many steps of all agencies wait for their answer."""
        return sum(len(client.unanswered) for client in self.clients.values())


@asynccontextmanager
async def running_trial(
    folder: Path,
    say: Callable[[str], None],
    more: Mapping[str, Mapping[str, str]] = MORE,
    scale: Mapping[str, int] = NOTHING_SCALED,
) -> AsyncIterator[Trial]:
    """Bring everything up by the code of `concert up`, with `more` variables; leaving stops it."""
    chosen = ports.trial_ports(usual_ports(scale))
    configuration = trial(folder, chosen_ports=chosen, scale=scale)
    async with running(configuration, say=say, more=more) as platform, AsyncExitStack() as open_clients:
        for refusal in platform.failing.values():
            raise refusal
        say(SIGNS_ITSELF)
        issuer = token_client(platform.installation)
        agencies = fictional_agencies()
        clients = {}
        for agency in agencies:
            client = AgencyClient(agency, platform.installation.api_url(agency.sector), issuer)
            await open_clients.enter_async_context(client.http)
            clients[agency.id] = client
        pulls = PullBook(platform.installation, folder.with_name("opened"))
        yield Trial(platform, issuer, agencies, clients, pulls)


@asynccontextmanager
async def listening(clients: Iterable[AgencyClient]) -> AsyncIterator[None]:
    """Every agency follows its feed for as long as the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.listen()) for client in clients]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for something that services do by themselves; refused when it takes too long."""
    ends = time.monotonic() + WITHIN_SECONDS
    while not await holds():
        if time.monotonic() > ends:
            raise CannotRun("not_ready", f"Not within {WITHIN_SECONDS:.0f} seconds: {what}.")
        await asyncio.sleep(POLL_SECONDS)


async def set_up(trial: Trial, directory: Path | None = None) -> list[ImportReport]:
    """Put everything in place and wait until every service knows of it."""
    paths = [DIRECTORY, directory] if directory else [DIRECTORY]
    async with operator_client(trial.installation, "referrals") as client:
        reports = [await import_directory(path, client, SystemClock().now()) for path in paths]
    for report in reports:
        if report.failure:
            raise report.failure
    async with partnership(trial.installation, trial.issuer, trial.agencies) as partners:
        await partners.found()
        await partners.adopt(protocol([agency.id for agency in trial.agencies]))
    for agency in trial.agencies:
        await publish(trial, f"/v1/agencies/{agency.id}", admission(trial.clients[agency.id], version=1))
    url = trial.installation.api_url("notifications")
    for agency in trial.agencies:
        desk = {"mail": agency.mail, "language": agency.language}
        system = AgencyClient(agency, url, trial.issuer)
        async with system.http:
            await system.ask("PUT", f"/v1/duty-desks/{DESK}", desk)
        await until(partial(_knows_all, trial, agency), f"{agency.sector} knows the agencies")
        await trial.clients[agency.id].register_key()
    await until(partial(_arbiter_knows, trial), "the arbiter knows agencies and protocol")
    return reports


async def publish(trial: Trial, path: str, document: Any) -> None:
    """Let governance publish a document, signed by the installation's own holders."""
    signed = signed_by_two(read_document(to_json(document)), trial.installation.holders)
    async with operator_client(trial.installation, "governance") as client:
        answer = await client.put(path, json=signed.model_dump(mode="json"))
    if not answer.is_success:
        raise CannotRun("not_founded", f"{path} was answered {answer.status_code}: {answer.text[:300]}")


def admission(system: AgencyClient, *, version: int) -> dict[str, Any]:
    """An agency as governance admits it, with the key that its system signs with."""
    agency = system.agency
    return {
        "agency": agency.id,
        "version": version,
        "sector": agency.sector,
        "organization": agency.organization,
        "status": "active",
        "signing_key": _public("ed25519", system.signing_key),
        "encryption_key": _public("x25519", X25519PrivateKey.generate()),
    }


def protocol(parties: Sequence[str]) -> dict[str, Any]:
    """The project's example protocol with the demo's parties and its short times."""
    now = SystemClock().now()
    document: dict[str, Any] = json.loads(PROTOCOL.read_text(encoding="utf-8"))
    return document | {
        "id": "demo-protocol",
        "parties": parties,
        "valid_from": (now - timedelta(days=1)).isoformat(),
        "valid_until": (now + timedelta(days=30)).isoformat(),
        "timers": TIMERS,
    }


async def _knows_all(trial: Trial, agency: AgencyAccount) -> bool:
    known = {row["service"]: row["agency"] for row in await trial.clients[agency.id].services()}
    return all(known.get(service) == other.id for other in trial.agencies for service in other.services)


async def _arbiter_knows(trial: Trial) -> bool:
    async with trial.installation.server.connection("concert_referrals") as connection:
        return bool(await connection.fetchval(_KNOWN, len(trial.agencies)))


def _public(suite: str, key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    return f"{suite}:{base64.b64encode(key.public_key().public_bytes_raw()).decode()}"
