"""`concert agencies …`, `concert protocols …`: what governance publishes, by the operator's certificate."""

import asyncio
import json
import re
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from schemas.ids import KINDS
from services.cli.installed import DataDirectory, installed, operator_client
from services.cli.talk import (
    CONFLICT,
    FAILED,
    TEMPORARY,
    AsJson,
    command,
    fail,
    failures_told,
    say,
    show_json,
)

NOT_AUTHORISED: Final = 3
EXIT_CODES: Final = {403: NOT_AUTHORISED, 409: CONFLICT, 503: TEMPORARY}
"""How an answer's status ends the command; any other refusal ends it with 1."""
JSON: Final = {"content-type": "application/json"}

agencies = typer.Typer(no_args_is_help=True, help="Agencies that take part.")
protocols = typer.Typer(no_args_is_help=True, help="Sharing protocols that join agencies.")

Document = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A JSON file with one document.")]


@agencies.command("admit")
def admit(file: Document, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert agencies admit FILE`. Admits it, or publishes its next version."""
    agency, content = _read(file, "agency")
    answer = _asked(data, "PUT", f"/v1/agencies/{agency}", content)
    _show_change("Agency", answer, command("protocols publish FILE", data), as_json)


@protocols.command("publish")
def publish(file: Document, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert protocols publish FILE`. Its parties must have been admitted before."""
    protocol, content = _read(file, "id")
    answer = _asked(data, "PUT", f"/v1/protocols/{protocol}", content)
    _show_change("Protocol", answer, command("protocols list", data), as_json)


@agencies.command("list")
def list_agencies(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Every agency as it stands."""
    _show_rows(_asked(data, "GET", "/v1/agencies"), ("agency", "version", "sector", "status"), as_json)


@protocols.command("list")
def list_protocols(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Every sharing protocol as it stands."""
    _show_rows(_asked(data, "GET", "/v1/protocols"), ("id", "version", "valid_from", "valid_until"), as_json)


def _asked(data: Path | None, method: str, path: str, content: bytes | None = None) -> Any:
    """Governance's answer; a refusal is told and ends the command."""
    try:
        with failures_told():
            response = asyncio.run(_request(data, method, path, content))
    except httpx2.TransportError:
        fail(f"governance does not answer; see {command('status', data)}", TEMPORARY)
    answer = response.json()
    if response.status_code != httpx2.codes.OK:
        for error in answer.get("errors", ()):
            say(f"  {error['pointer']}: {error['detail']}")
        fail(f"{answer['code']}: {answer['detail']}", EXIT_CODES.get(response.status_code, FAILED))
    return answer


async def _request(data: Path | None, method: str, path: str, content: bytes | None) -> httpx2.Response:
    async with operator_client(installed(data), "governance") as client:
        return await client.request(method, path, content=content, headers=JSON)


def _read(file: Path, name: str) -> tuple[str, bytes]:
    """The id that a document gives itself, and its bytes, which are sent as they are."""
    content = file.read_bytes()
    try:
        found = json.loads(content)[name]
    except (ValueError, TypeError, KeyError, RecursionError):
        found = None
    if not isinstance(found, str) or not re.fullmatch(KINDS["agency"].pattern, found):
        fail(f"{file} must hold one JSON object that gives its id as {name}")
    return found, content


def _show_change(kind: str, answer: Any, following: str, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    what = "published" if answer["is_news"] else "stands already, nothing changed"
    print(f"{kind} {answer['id']}, version {answer['version']}, hash {answer['hash']}: {what}.")
    say(f"Next: {following}.")


def _show_rows(answer: Any, names: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    for row in (names, *([str(entry["content"][name]) for name in names] for entry in answer["data"])):
        print("\t".join(row))
