"""What must stand before the first referral: directory, agencies with keys, a protocol, duty desks."""

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import deploy.local
from deploy.local.refusals import CannotRun
from services.cli.agency_client import DESK, AgencyClient
from services.cli.demo.agencies import DIRECTORY, FictionalAgency
from services.cli.demo.stories import TIMERS
from services.cli.demo.trial import Trial, until
from services.cli.directory import ImportReport, import_directory
from services.cli.operator_client import operator_client
from services.runtime.clock import SystemClock

PROTOCOL: Final = Path(deploy.local.__file__).with_name("protocol.json")


async def set_up(trial: Trial, directory: Path | None = None) -> list[ImportReport]:
    """Put everything in place and wait until every service knows of it."""
    reports = await _import_directories(trial, directory)
    for agency in trial.agencies:
        await publish(trial, f"/v1/agencies/{agency.id}", admission(agency, version=1))
    document = protocol([agency.id for agency in trial.agencies])
    await publish(trial, "/v1/protocols/demo-protocol", document)
    url = trial.installation.api_url("notifications")
    for agency in trial.agencies:
        async with AgencyClient(agency, url, trial.issuer) as client:
            await client.ask(
                "PUT", f"/v1/duty-desks/{DESK}", {"mail": agency.mail, "language": agency.language}
            )
        await until(partial(_knows_all, trial, agency), f"{agency.sector} knows the agencies")
    await until(lambda: _arbiter_knows(trial), "the arbiter knows agencies and protocol")
    return reports


async def publish(trial: Trial, path: str, document: Any) -> None:
    """Let governance publish a document, by the operator's certificate."""
    async with operator_client(trial.installation, "governance") as client:
        answer = await client.put(path, json=document)
    if not answer.is_success:
        raise CannotRun("not_founded", f"{path} was answered {answer.status_code}: {answer.text[:300]}")


def admission(agency: FictionalAgency, *, version: int) -> dict[str, Any]:
    """An agency as governance admits it, with fresh keys."""
    return {
        "agency": agency.id,
        "version": version,
        "sector": agency.sector,
        "organization": agency.organization,
        "status": "active",
        "signing_key": _public("ed25519", Ed25519PrivateKey.generate()),
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


async def _import_directories(trial: Trial, directory: Path | None) -> list[ImportReport]:
    """The project's own directory, and the one that was named."""
    paths = [DIRECTORY, directory] if directory else [DIRECTORY]
    async with operator_client(trial.installation, "referrals") as client:
        reports = [await import_directory(path, client, SystemClock().now()) for path in paths]
    for report in reports:
        if report.failure:
            raise report.failure
    return reports


async def _knows_all(trial: Trial, agency: FictionalAgency) -> bool:
    known = {row["service"]: row["agency"] for row in await trial.client(agency).services()}
    return all(known.get(service) == other.id for other in trial.agencies for service in other.services)


async def _arbiter_knows(trial: Trial) -> bool:
    async with trial.installation.server.connection("concert_referrals") as connection:
        agencies = await connection.fetchval("SELECT count(*) FROM agency")
        protocols = await connection.fetchval("SELECT count(*) FROM protocol")
    return bool(agencies >= len(trial.agencies) and protocols)


def _public(suite: str, key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    return f"{suite}:{base64.b64encode(key.public_key().public_bytes_raw()).decode()}"
