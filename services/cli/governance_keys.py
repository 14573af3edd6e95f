"""`concert governance keys …`: the three holders' keys and signatures, on files and offline."""

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from pydantic_core import to_json

from deploy.local.founding import SIGNS_ITSELF
from deploy.local.places import write_private
from schemas.events.governance import (
    AgencyCurrent,
    ProtocolCurrent,
    ProtocolDocument,
    ServiceCurrent,
    document_hash,
)
from schemas.events.governance_keys import NEEDED, GovernanceBody, kid_of, sign, version_of
from schemas.wire.body import key_of
from schemas.wire.cloudevents import Unusable
from schemas.wire.public_keys import written
from schemas.wire.strict_json import parse_json
from services.cli.installed import DataDirectory, installed
from services.cli.talk import AsJson, fail, say, show
from services.governance.domain.founding import FoundingAct
from services.runtime.ids import random_bytes

governance = typer.Typer(no_args_is_help=True)
keys = typer.Typer(no_args_is_help=True, help="Keys of governance's three holders, and their signatures.")
governance.add_typer(keys, name="keys")

SEED_BYTES: Final = 32
HoldersBody = GovernanceBody | FoundingAct
DOCUMENTS: Final[tuple[tuple[str, type[HoldersBody], str], ...]] = (
    ("agency", AgencyCurrent, "`concert agencies admit {}`"),
    ("service", ServiceCurrent, "`concert services publish {}`"),
    (
        "document",
        ProtocolCurrent,
        "approvers hand in each signature of {}: POST /v1/protocols/…/sign",
    ),
    ("partners", FoundingAct, "`concert governance found {}`"),
)
"""A name that only one kind of document has, that kind, and how a file of it is handed in."""


class NoDocument(ValueError):
    """The file holds nothing that holders sign."""


@keys.command("create")
def create(
    file: Annotated[Path, typer.Argument(help="Where to write the private key; must not exist.")],
) -> None:
    """Example: `concert governance keys create FILE`.

    The private key stays in the file; what is printed is public. Joined with those of the two other holders
    into one JSON object, it is what every installation names as governance_keys_file.
    """
    seed = random_bytes(SEED_BYTES)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{file} exists already, and a key is never written over; choose another name")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    with os.fdopen(descriptor, "w", encoding="ascii") as private:
        private.write(base64.b64encode(seed).decode())
        private.flush()
        os.fsync(private.fileno())
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    print(json.dumps({kid_of(public): written(public)}))
    say(f"Keep {file} to yourself, and give the printed line to whoever runs the installation.")


@keys.command("sign")
def sign_document(
    file: Annotated[Path, typer.Argument(metavar="DOCUMENT", exists=True, dir_okay=False)],
    key: Annotated[
        Path | None, typer.Option("--key", exists=True, dir_okay=False, help="From `keys create`.")
    ] = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert governance keys sign DOCUMENT --key KEY`.

    Adds one signature to an agency, a service, a protocol or a founding act. Read first what you sign: it is
    printed, and stands in the file. Two of the three holders must sign; each needs the file and nothing else.
    Without --key an installation in mode local, which holds the keys itself, signs as two of them.
    """
    try:
        body = read_document(file.read_bytes())
    except NoDocument as wrong:
        fail(f"{file} {wrong}; nothing was signed")
    signed = body
    for private in [_private_key(key)] if key else _own_keys(data):
        kid = kid_of(private.public_key().public_bytes_raw())
        if any(one.kid == kid for one in signed.signatures):
            fail(f"{file} has a signature by this key already; another holder must give the next one")
        signed = sign(signed, private)
    _replace(file, signed)
    name, version = _named(signed)
    told = {
        "id": name,
        "version": version,
        "hash": document_hash(signed.document if isinstance(signed, ProtocolCurrent) else signed),
        "signatures": len(signed.signatures),
    }
    line = "{id}, version {version}, hash {hash}: signed, {signatures} in all.".format(**told)
    show(told, [line], as_json=as_json)
    if len(signed.signatures) >= NEEDED:
        words = next(words for _, kind, words in DOCUMENTS if isinstance(signed, kind))
        say(f"Next: {words.format(file)}.")


def read_document(content: bytes) -> HoldersBody:
    """What holders sign, strictly; NoDocument says what is wrong, and repeats no value."""
    try:
        found = parse_json(content)
        names = found if isinstance(found, dict) else {}
        kind = next((kind for name, kind, _ in DOCUMENTS if name in names), None)
        if kind:
            return kind.model_validate_json(content, strict=True, extra="forbid")
        document = ProtocolDocument.model_validate_json(content, strict=True)
    except (Unusable, ValueError) as error:
        raise NoDocument(f"is no agency, service, protocol or founding act{_place(error)}") from None
    return ProtocolCurrent(document=document, hash=document_hash(document))


def _place(error: Exception) -> str:
    """Where the first fault lies; a name that no document has is not repeated."""
    if not isinstance(error, ValidationError):
        return ""
    first = error.errors(include_input=False, include_url=False)[0]
    steps = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    return f" (see {'.'.join(map(str, steps)) or 'a name that none of them has'})"


def _named(body: HoldersBody) -> tuple[str, int]:
    """Id and version; a founding act goes by its committee, and has no second version."""
    return (body.committee.id, 1) if isinstance(body, FoundingAct) else (key_of(body), version_of(body))


def _own_keys(data: Path | None) -> list[Ed25519PrivateKey]:
    """Two of the keys that an installation in mode local made for itself."""
    found = installed(data).holders[:NEEDED]
    if not found:
        fail("this installation holds no key of governance; name yours with --key")
    say(SIGNS_ITSELF)
    return found


def _private_key(file: Path) -> Ed25519PrivateKey:
    try:
        seed = base64.b64decode(file.read_bytes().strip(), validate=True)
        return Ed25519PrivateKey.from_private_bytes(seed)
    except (binascii.Error, ValueError):
        fail(f"{file} is no private key of governance: 32 bytes in base64")


def _replace(file: Path, body: HoldersBody) -> None:
    """Write the document in one go: a holder's file is whole before and after."""
    mode = file.stat().st_mode & 0o777
    write_private(file, to_json(body, exclude_none=True, indent=1) + b"\n").chmod(mode)
