"""`concert packets …`: an agency's packet key, and pulling field groups as one of its people would."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from schemas.events.consent import PURPOSES
from schemas.events.packet import GROUPS
from schemas.wire.public_keys import public_bytes
from services.cli.installed import DataDirectory, ask
from services.cli.packet_keys import PacketKey, may_call
from services.cli.persons import Person, Purpose
from services.cli.talk import check_choices, fail, say
from services.cli.tokens import Role, Staff
from services.runtime.clock import SystemClock

packets = typer.Typer(
    no_args_is_help=True,
    help="Example: `concert packets pull ref_… --groups contact --purpose care --open-with KEYFILE`.",
)

CALLING: Final = {
    True: "By her rules she may be called now.",
    False: "By her rules she must not be called now; see safe_contact.",
    None: "She must not be called: nothing here says how she may be reached.",
}


@packets.command("create-key", short_help="Make the key that an agency's packets are sealed to.")
def create_key(
    file: Annotated[Path, typer.Argument(metavar="KEYFILE", help="Where to keep it; must not exist.")],
    agency: Annotated[str, typer.Option(help="The agency's id.")],
    signing_key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Of its admission, in PEM.")],
) -> None:
    """Keeps a new key in KEYFILE, and prints the signed record that the agency registers at its sector."""
    if file.exists():
        fail(f"{file} exists already, and a key is never written over; choose another name")
    try:
        private = load_pem_private_key(signing_key.read_bytes(), None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        fail(f"{signing_key} holds no private Ed25519 key in PEM without a password")
    key = PacketKey.new(agency)
    key.write(file)
    print(key.record(private, SystemClock().now()).model_dump_json())
    say(f"Next: PUT the printed record to /v1/keys/{key.id} of the agency's sector.")


@packets.command("pull", short_help="Pull field groups of a referral's packet, and open them.")
def pull(
    referral: Annotated[str, typer.Argument(help="The referral's id.")],
    groups: Annotated[str, typer.Option(help=f"With commas, of: {', '.join(GROUPS)}.")],
    purpose: Purpose,
    open_with: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The agency's packet key.")],
    staff: Staff,
    role: Role,
    data: DataDirectory = None,
) -> None:
    """Pulls as this person of the key's agency, and prints what it may see; the trail has it first.

    Says whether she may be called now. A name or a number comes with her rules, or not at all.
    """
    check_choices(groups.split(","), GROUPS, "--groups")
    check_choices([purpose], PURPOSES, "--purpose")
    key = PacketKey.read(open_with)
    body = {"purpose": purpose, "groups": groups.split(","), "key": key.id}
    answer = Person(key.agency, staff, role, data).ask("POST", f"/v1/referrals/{referral}/packet-pulls", body)
    services = ask(data, "governance", "GET", "/v1/services")["data"]
    owner = answer.json()["release"]["owner"]
    vault_key = next(one["content"]["vault_key"] for one in services if one["content"]["service"] == owner)
    opened = key.open(answer.content, public_bytes(vault_key))
    print(json.dumps(opened, ensure_ascii=False, indent=1))
    if "contact" in groups.split(","):
        say(CALLING[may_call(opened, SystemClock().now())])
