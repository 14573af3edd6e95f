"""Probes: an agency of each sector that nobody runs, between which referrals show that all works.

They are admitted by `up` in mode `local`, which holds governance's keys; nobody holds the private halves of
theirs.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from deploy.local.founding import operator_client, signed_by_two
from deploy.local.installation import PROBE_OF, Installation
from deploy.local.subprocesses import Say
from schemas.events.governance import (
    TIMERS,
    URGENCIES,
    AgencyCurrent,
    ProtocolCurrent,
    ProtocolDocument,
    document_hash,
)
from schemas.topics import SECTORS
from schemas.wire.public_keys import written
from services.runtime.clock import SystemClock

PROTOCOL: Final = "probes"
EXAMPLE: Final = Path(__file__).with_name("protocol.json")
"""What may be seen on the wire is that of any protocol; of a packet nothing may be pulled."""
HOLDS_FOR: Final = timedelta(days=730)
RENEWED_BEFORE: Final = timedelta(days=365)
YEAR_SECONDS: Final = 366 * 86_400
ANSWERED_WITHIN_SECONDS: Final = 3_600
"""An offer that a probe left unanswered expires; nobody is reminded of anything else."""
ENTRY_FRESH_FOR_DAYS: Final = 1_000
_NAMESPACE: Final = uuid.UUID("9e0c7d52-5d39-5d0f-8f0e-3a1d2c1f6b40")


def service_of(sector: str) -> str:
    """The id in the directory of what a probe offers."""
    return str(uuid.uuid5(_NAMESPACE, f"service {sector}"))


def probes_of(installation: Installation) -> dict[str, dict[str, str]]:
    """Sector → its probe, as operations is told of it."""
    return {
        sector: {"agency": probe, "service": service_of(sector), "url": installation.api_url(sector)}
        for sector, probe in PROBE_OF.items()
    }


async def admit_probes(installation: Installation, say: Say) -> None:
    """Let governance publish each sector's probe and their protocol, and the arbiter list what they offer."""
    try:
        async with operator_client(installation, "governance") as client:
            await _publish(installation, client)
        async with operator_client(installation, "referrals") as client:
            answer = await client.post("/v1/directory", json={"entries": _entries(SystemClock().now())})
            answer.raise_for_status()
    except httpx2.HTTPError as error:
        say(f"the probes could not be admitted: {type(error).__name__}; the next start tries again")


async def _publish(installation: Installation, client: httpx2.AsyncClient) -> None:
    known = await _known(client, "agencies")
    for sector in SECTORS:
        if (probe := PROBE_OF[sector]) not in known:
            signed = signed_by_two(_agency(sector), installation.holders)
            await _put(client, f"/v1/agencies/{probe}", signed)
    last = (await _known(client, "protocols")).get(PROTOCOL)
    if document := _protocol(last["document"] if last else None, SystemClock().now()):
        current = ProtocolCurrent(document=document, hash=document_hash(document))
        await _put(client, f"/v1/protocols/{PROTOCOL}", signed_by_two(current, installation.holders))


async def _known(client: httpx2.AsyncClient, kind: str) -> Mapping[str, Any]:
    answer = await client.get(f"/v1/{kind}")
    return {row["id"]: row["content"] for row in answer.raise_for_status().json()["data"]}


async def _put(client: httpx2.AsyncClient, path: str, body: AgencyCurrent | ProtocolCurrent) -> None:
    (await client.put(path, json=body.model_dump(mode="json"))).raise_for_status()


def _agency(sector: str) -> AgencyCurrent:
    """A probe signs nothing and is sent nothing sealed: the private halves of its keys are kept nowhere."""
    signing, encryption = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    return AgencyCurrent(
        agency=PROBE_OF[sector],
        version=1,
        sector=sector,
        organization=_organization(sector),
        status="active",
        signing_key=written(signing.public_key().public_bytes_raw()),
        encryption_key=written(encryption.public_key().public_bytes_raw(), "x25519"),
        probe=True,
    )


def _protocol(last: Mapping[str, Any] | None, now: datetime) -> ProtocolDocument | None:
    """Its next version, unless the last one holds for long yet and binds the same probes."""
    known = ProtocolDocument.model_validate(last) if last else None
    parties = tuple(sorted(PROBE_OF.values()))
    if known and known.parties == parties and known.valid_until - now > RENEWED_BEFORE:
        return None
    lengths = {"acknowledge": ANSWERED_WITHIN_SECONDS, "answer": ANSWERED_WITHIN_SECONDS}
    return ProtocolDocument(
        id=PROTOCOL,
        version=known.version + 1 if known else 1,
        jurisdiction="probes",
        parties=parties,
        valid_from=now - timedelta(hours=1),
        valid_until=now + HOLDS_FOR,
        entry_fresh_for_days=ENTRY_FRESH_FOR_DAYS,
        matrix=json.loads(EXAMPLE.read_text("utf-8"))["matrix"],
        timers={one: dict.fromkeys(URGENCIES, lengths.get(one, YEAR_SECONDS)) for one in TIMERS},
    )


def _entries(now: datetime) -> list[dict[str, Any]]:
    """What the arbiter's directory lists of each; sectors show it to nobody."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return [
        {
            "service": service_of(sector),
            "organization": _organization(sector),
            "title": "Probe",
            "organization_title": "Probe",
            "status": "active",
            "needs": ["case_coordination"],
            "desk": "duty",
            "confirmed_at": day.isoformat(),
        }
        for sector in SECTORS
    ]


def _organization(sector: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"organization {sector}"))
