"""What must stand before the first referral: directory, agencies with keys, a protocol, duty desks."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import deploy.local
from deploy.local.refusals import CannotRun
from services.cli.demo.agencies import DESK, DIRECTORY, Agency
from services.cli.demo.clients import NOT_YET_ADMITTED, ROLE
from services.cli.demo.stage import Stage
from services.cli.demo.stories import TIMERS
from services.cli.directory import Report, import_directory
from services.cli.installed import operator_client
from services.runtime.clock import SystemClock

PROTOCOL: Final = Path(deploy.local.__file__).with_name("protocol.json")
KNOWN_WITHIN_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.05


async def found(stage: Stage, directory: Path | None) -> list[Report]:
    """Put everything in place and wait until every service knows of it."""
    reports = await import_directories(stage, directory)
    await admit_agencies(stage)
    await register_desks(stage)
    for agency in stage.agencies:
        await until(partial(_is_known, stage, agency), f"{agency.sector} knows the agencies")
    await until(lambda: _arbiter_knows(stage), "the arbiter knows agencies and protocol")
    return reports


async def import_directories(stage: Stage, directory: Path | None) -> list[Report]:
    """The project's own directory, and the one that was named."""
    async with operator_client(stage.installation, "referrals") as client:
        reports = [
            await import_directory(path, client, SystemClock().now())
            for path in (DIRECTORY, directory)
            if path
        ]
    for report in reports:
        if report.failure:
            raise report.failure
    return reports


async def admit_agencies(stage: Stage) -> None:
    """Every agency with fresh keys, then the protocol that joins them."""
    async with operator_client(stage.installation, "governance") as client:
        for agency in stage.agencies:
            await _put(client, f"/v1/agencies/{agency.id}", admission(agency, version=1))
        await _put(client, "/v1/protocols/demo-protocol", protocol([agency.id for agency in stage.agencies]))


async def renew_keys(stage: Stage, agency: Agency) -> None:
    """An agency's next version, with new keys."""
    async with operator_client(stage.installation, "governance") as client:
        await _put(client, f"/v1/agencies/{agency.id}", admission(agency, version=2))


def admission(agency: Agency, *, version: int) -> dict[str, Any]:
    """An agency as governance admits it."""
    return {
        "agency": agency.id,
        "version": version,
        "sector": agency.sector,
        "organization": agency.organization,
        "status": "active",
        "signing_key": _public(Ed25519PrivateKey.generate()),
        "encryption_key": _public(X25519PrivateKey.generate()),
    }


def protocol(parties: list[str]) -> dict[str, Any]:
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


async def register_desks(stage: Stage) -> None:
    """Each agency's duty desk, with its address and language."""
    url = stage.installation.api_url("notifications")
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        for agency in stage.agencies:
            token = stage.issuer.token(agency=agency.id, staff=agency.staff[0], role=ROLE)
            entry = {"mail": agency.mail, "language": agency.language}
            headers = {"Authorization": f"Bearer {token}"}
            put = partial(_put, client, f"/v1/duty-desks/{DESK}", entry, headers)
            await until(put, "notifications knows the agencies")


async def until(
    holds: Callable[[], Awaitable[bool]], what: str, within: float = KNOWN_WITHIN_SECONDS
) -> None:
    """Wait for something that services do by themselves; refused when it takes too long."""
    ends = time.monotonic() + within
    while not await holds():
        if time.monotonic() > ends:
            raise CannotRun("not_ready", f"Not within {within:.0f} seconds: {what}.")
        await asyncio.sleep(POLL_SECONDS)


async def _is_known(stage: Stage, agency: Agency) -> bool:
    known = {row["service"]: row["agency"] for row in await stage.client(agency).services()}
    return all(known.get(each.id) == other.id for other in stage.agencies for each in other.services)


async def _arbiter_knows(stage: Stage) -> bool:
    async with stage.installation.server.connection("concert_referrals") as connection:
        agencies = await connection.fetchval("SELECT count(*) FROM agency")
        protocols = await connection.fetchval("SELECT count(*) FROM protocol")
    return bool(agencies >= len(stage.agencies) and protocols)


async def _put(
    client: httpx2.AsyncClient, path: str, content: Any, headers: dict[str, str] | None = None
) -> bool:
    """Whether it was taken; not yet where the service has not heard of the agency."""
    answer = await client.put(path, json=content, headers=headers)
    if not answer.is_success and answer.json().get("code") != NOT_YET_ADMITTED:
        raise CannotRun("not_founded", f"{path} was answered {answer.status_code}: {answer.text[:300]}")
    return answer.is_success


def _public(key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
