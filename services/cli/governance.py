"""`concert governance found`, `agencies …`, `services …`, `protocols …`: what an operator hands in."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from deploy.local.founding import SIGNS_ITSELF, service_document, signed_by_two
from schemas.ids import KINDS
from schemas.topics import SECTORS
from services.cli.governance_keys import NoDocument, governance, read_document
from services.cli.installed import DataDirectory, ask, installed
from services.cli.talk import AsJson, check_choices, command, fail, say, show

agencies = typer.Typer(no_args_is_help=True, help="Agencies that take part.")
services = typer.Typer(no_args_is_help=True, help="Sector services and their keys.")
protocols = typer.Typer(no_args_is_help=True, help="Sharing protocols that join agencies.")

PLURALS: Final = {"agency": "agencies", "service": "services"}
NAMED: Final = {"agency": "agency", "service": "service_name"}
"""Kinds of document, each with the kind of its id."""
Document = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A JSON file with one document.")]


@governance.command("found")
def found(file: Document, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert governance found FILE`. Seats the first partners and the first committee, once.

    Two of governance's three holders have signed it (`concert governance keys sign DOCUMENT --key KEY`).
    """
    answer = ask(data, "governance", "PUT", "/v1/founding", _prepared(file.read_bytes(), data))
    what = "founded" if answer["is_news"] else "stands already, nothing changed"
    show(answer, [f"Committee {answer['id']}, {answer['state']}: {what}."], as_json=as_json)
    say(f"Next: partners meet and decide at governance's port; {command('agencies admit FILE', data)}.")


@governance.command("rebuild")
def rebuild(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Counts every figure anew from the kept facts; the same facts give the same digest.

    What was released stays as it was published.
    """
    answer = ask(data, "governance", "POST", "/v1/figures/rebuild")
    show(answer, [f"{answer['figures']} figures, sha256 {answer['sha256']}"], as_json=as_json)


@agencies.command("admit")
def admit(file: Document, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert agencies admit FILE`. Admits it, or publishes its next version.

    The partners have admitted its organisation, and two of governance's three holders have signed it
    (`concert governance keys sign`), unless it suspends.
    """
    _publish("agency", file, data, as_json, command("agencies list", data))


@services.command("publish")
def publish_service(file: Document, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert services publish FILE`. Says which keys a sector service signs with."""
    _publish("service", file, data, as_json, command("services list", data))


@agencies.command("list")
def list_agencies(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Every agency as it stands."""
    _list("/v1/agencies", ("agency", "version", "sector", "status"), data, as_json)


@services.command("draft")
def draft_service(
    sector: Annotated[str, typer.Argument(metavar="SECTOR")], data: DataDirectory = None
) -> None:
    """Example: `concert services draft health`. Prints what two holders have to sign of a sector service."""
    check_choices([sector], SECTORS, "SECTOR")
    rows = ask(data, "governance", "GET", "/v1/services")["data"]
    known = next((row["content"] for row in rows if row["id"] == sector), None)
    document = service_document(installed(data), sector, known)
    if document is None:
        fail(f"the keys of {sector} are published as they are; nothing has to be signed")
    print(document.model_dump_json(exclude={"signatures"}, indent=1))
    say(f"Next: two holders sign a file of it, then {command('services publish FILE', data)}.")


@services.command("list")
def list_services(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Every sector service as it stands."""
    _list("/v1/services", ("service", "version", "status", "signing_key", "vault_key"), data, as_json)


@protocols.command("list")
def list_protocols(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Every sharing protocol as it stands."""
    _list("/v1/protocols", ("id", "version", "valid_from", "valid_until"), data, as_json)


def _publish(kind: str, file: Path, data: Path | None, as_json: bool, following: str) -> None:
    """Send a document as its holders signed it, under the id that it gives itself."""
    content = file.read_bytes()
    name = _name_in(content, kind)
    if name is None:
        fail(f"{file} must hold one JSON object that gives its id as {kind}")
    answer = ask(data, "governance", "PUT", f"/v1/{PLURALS[kind]}/{name}", _prepared(content, data))
    what = "published" if answer["is_news"] else "stands already, nothing changed"
    line = f"{kind.capitalize()} {answer['id']}, version {answer['version']}, hash {answer['hash']}: {what}."
    show(answer, [line], as_json=as_json)
    say(f"Next: {following}.")


def _prepared(content: bytes, data: Path | None) -> bytes:
    """The document, signed where nobody has and this installation may; what is none goes as it is."""
    try:
        body = read_document(content)
    except NoDocument:
        return content  # governance says in every detail what is wrong
    if not body.signatures and (holders := installed(data).holders):
        body = signed_by_two(body, holders)
        say(SIGNS_ITSELF)
    return body.model_dump_json().encode()


def _name_in(content: bytes, kind: str) -> str | None:
    """The id that a document gives itself, if it looks like one."""
    found: Any = None
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        found = json.loads(content)[kind]
    is_id = isinstance(found, str) and re.fullmatch(KINDS[NAMED[kind]].pattern, found)
    return found if is_id else None


def _list(path: str, names: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    answer = ask(data, "governance", "GET", path)
    documents = [entry["content"].get("document", entry["content"]) for entry in answer["data"]]
    rows = [[str(document[name]) for name in names] for document in documents]
    show(answer, map("\t".join, (names, *rows)), as_json=as_json)
