"""What an installation that is its own governance signs by itself: what is handed in, and its services."""

from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.local.installation import OPERATOR, Installation
from deploy.local.subprocesses import Say
from schemas.events.governance import ServiceCurrent
from schemas.events.governance_keys import NEEDED, Signable, sign
from schemas.topics import SECTORS
from services.runtime.peers import internal_client

ANSWER_WITHIN_SECONDS: Final = 30.0
SIGNS_ITSELF: Final = "Mode local: this installation holds governance's three keys, and signs by itself."


def signed_by_two(body: Signable, holders: list[Ed25519PrivateKey]) -> Signable:
    """The document with the signatures that it needs."""
    for key in holders[:NEEDED]:
        body = sign(body, key)
    return body


def operator_client(installation: Installation, service: str) -> httpx2.AsyncClient:
    """A connection to a service's internal port."""
    tls, address = installation.certificates.tls_settings(OPERATOR), installation.internal_url(service)
    return internal_client(tls, service, base_url=address, seconds=ANSWER_WITHIN_SECONDS)


async def publish_services(installation: Installation, say: Say) -> None:
    """Let governance publish each sector service's keys, where it has not published these."""
    async with operator_client(installation, "governance") as client:
        try:
            answer = await client.get("/v1/services")
            known = {row["id"]: row["content"] for row in answer.raise_for_status().json()["data"]}
            for sector in SECTORS:
                if service := service_document(installation, sector, known.get(sector)):
                    signed = signed_by_two(service, installation.holders)
                    path, document = f"/v1/services/{sector}", signed.model_dump(mode="json")
                    (await client.put(path, json=document)).raise_for_status()
        except httpx2.HTTPError as error:
            fault = type(error).__name__
            say(f"the services' keys could not be published: {fault}; the next start tries again")


def service_document(installation: Installation, sector: str, known: Any) -> ServiceCurrent | None:
    """What holders sign of a service: its next version, unless its keys are published as they are."""
    service = ServiceCurrent(
        service=sector,
        version=known["version"] + 1 if known else 1,
        status="active",
        signing_key=installation.secrets.public_key(f"signing-{sector}"),
        vault_key=installation.secrets.public_key(f"vault-{sector}"),
    )
    names = ("signing_key", "vault_key")
    return None if known and all(known[name] == getattr(service, name) for name in names) else service
