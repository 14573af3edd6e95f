"""`concert agencies …`, `concert protocols …`: what governance publishes, by the operator's certificate."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from schemas.ids import KINDS
from services.cli.installed import DataDirectory, ask
from services.cli.talk import AsJson, command, fail, say, show

agencies = typer.Typer(no_args_is_help=True, help="Agencies that take part.")
protocols = typer.Typer(no_args_is_help=True, help="Sharing protocols that join agencies.")

Document = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A JSON file with one document.")]


@agencies.command("admit")
def admit(file: Document, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert agencies admit FILE`. Admits it, or publishes its next version."""
    _publish("Agency", "agency", file, data, as_json, command("protocols publish FILE", data))


@protocols.command("publish")
def publish(file: Document, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert protocols publish FILE`. Its parties must have been admitted before."""
    _publish("Protocol", "id", file, data, as_json, command("protocols list", data))


@agencies.command("list")
def list_agencies(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Every agency as it stands."""
    _list("/v1/agencies", ("agency", "version", "sector", "status"), data, as_json)


@protocols.command("list")
def list_protocols(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Every sharing protocol as it stands."""
    _list("/v1/protocols", ("id", "version", "valid_from", "valid_until"), data, as_json)


def _publish(kind: str, name: str, file: Path, data: Path | None, as_json: bool, following: str) -> None:
    """Send a document as it is, under the id that it gives itself."""
    content = file.read_bytes()
    try:
        found = json.loads(content)[name]
    except (ValueError, TypeError, KeyError, RecursionError):
        found = None
    if not isinstance(found, str) or not re.fullmatch(KINDS["agency"].pattern, found):
        fail(f"{file} must hold one JSON object that gives its id as {name}")
    path = "agencies" if name == "agency" else "protocols"
    answer = ask(data, "governance", "PUT", f"/v1/{path}/{found}", content)
    what = "published" if answer["is_news"] else "stands already, nothing changed"
    line = f"{kind} {answer['id']}, version {answer['version']}, hash {answer['hash']}: {what}."
    show(answer, [line], as_json=as_json)
    say(f"Next: {following}.")


def _list(path: str, names: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    answer = ask(data, "governance", "GET", path)
    rows = [[str(entry["content"][name]) for name in names] for entry in answer["data"]]
    show(answer, map("\t".join, (names, *rows)), as_json=as_json)
