"""`concert packets …`: pulling field groups as an agency's person would, and opening them."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from schemas.events.consent import PURPOSES
from schemas.events.packet import GROUPS
from schemas.roles import ROLES
from schemas.wire.public_keys import public_bytes
from services.cli.installed import EXIT_CODES, JSON, DataDirectory, ask, installed
from services.cli.packet_keys import PacketKey
from services.cli.talk import FAILED, check_choices, fail
from services.cli.tokens import local_issuer
from services.runtime.ids import random_bytes

packets = typer.Typer(
    no_args_is_help=True,
    help="Example: `concert packets pull ref_… --groups contact --purpose care --open-with KEYFILE`.",
)

ANSWER_WITHIN_SECONDS: Final = 30.0


@packets.command("pull", short_help="Pull field groups of a referral's packet, and open them.")
def pull(
    referral: Annotated[str, typer.Argument(help="The referral's id.")],
    groups: Annotated[str, typer.Option(help=f"With commas, of: {', '.join(GROUPS)}.")],
    purpose: Annotated[str, typer.Option(help=f"One of: {', '.join(PURPOSES)}.")],
    open_with: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The agency's packet key.")],
    staff: Annotated[str, typer.Option(help="The agency's pseudonym of the person; never a name.")],
    role: Annotated[str, typer.Option(help="The person's role, such as `nurse`.")],
    data: DataDirectory = None,
) -> None:
    """Pulls as this person of the key's agency, and prints what it may see; the trail has it first."""
    check_choices(groups.split(","), GROUPS, "--groups")
    check_choices([purpose], PURPOSES, "--purpose")
    check_choices([role], sorted(ROLES), "--role")
    key, installation = PacketKey.read(open_with), installed(data)
    token = local_issuer(installation).token(agency=key.agency, staff=staff, role=role)
    answer = httpx2.post(
        f"{installation.api_url(_sector_of(key.agency, data))}/v1/referrals/{referral}/packet-pulls",
        json={"purpose": purpose, "groups": groups.split(","), "key": key.id},
        headers={
            **JSON,
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": random_bytes(16).hex(),
        },
        timeout=ANSWER_WITHIN_SECONDS,
        trust_env=False,
    )
    document: Any = answer.json()
    if not answer.is_success:
        fail(f"{document['code']}: {document['detail']}", EXIT_CODES.get(answer.status_code, FAILED))
    services = ask(data, "governance", "GET", "/v1/services")["data"]
    owner = document["release"]["owner"]
    vault_key = next(one["content"]["vault_key"] for one in services if one["content"]["service"] == owner)
    print(json.dumps(key.open(answer.content, public_bytes(vault_key)), ensure_ascii=False, indent=1))


def _sector_of(agency: str, data: Path | None) -> str:
    found = ask(data, "governance", "GET", "/v1/agencies")["data"]
    sectors = {one["content"]["agency"]: one["content"]["sector"] for one in found}
    if agency not in sectors:
        fail(f"{agency} is not admitted here")
    return str(sectors[agency])
