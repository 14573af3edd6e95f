"""The installation that runs in a data directory, and its services' answers to the operator's certificate."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from deploy.local import control
from deploy.local.configuration import load
from deploy.local.founding import operator_client
from deploy.local.installation import Installation
from deploy.local.ports import HOST
from deploy.local.refusals import CannotRun
from services.cli.talk import CONFLICT, FAILED, NOT_AUTHORISED, NOT_FOUND, TEMPORARY, command, fail, say

DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Default: ~/.local/state/concert, as root /var/lib/concert.",
    ),
]
READY: Final = "ready"
READY_POLL_SECONDS: Final = 0.2
EXIT_CODES: Final = {403: NOT_AUTHORISED, 404: NOT_FOUND, 409: CONFLICT, 503: TEMPORARY}
"""How an answer's status ends the command; any other refusal ends it with 1."""
JSON: Final = {"content-type": "application/json"}


def installed(data: Path | None) -> Installation:
    """What runs there; refused where nothing does."""
    configuration = load(data)
    state = control.read_state(configuration.run)
    if not state:
        start = command("up", data)
        raise CannotRun("not_running", f"Nothing runs in {configuration.data}; start it with {start}.")
    if not state.get("ports"):
        sentence = f"What runs in {configuration.data} has not told its ports; ask again in a moment."
        raise CannotRun("not_ready", f"{sentence} If it stays so: {command('down', data)}, then `up`.")
    return Installation(configuration, state["ports"])


def ask(data: Path | None, service: str, method: str, path: str, content: bytes | None = None) -> Any:
    """A service's answer; a refusal, or none, is told and ends the command."""
    answer = asyncio.run(_ask_each(data, [service], method, path, content))[service]
    if answer is None:
        fail(f"{service} does not answer; see {command('status', data)}", TEMPORARY)
    document = answer.json()
    if answer.status_code != httpx2.codes.OK:
        for error in document.get("errors", ()):
            say(f"  {error['pointer']}: {error['detail']}")
        fail(f"{document['code']}: {document['detail']}", EXIT_CODES.get(answer.status_code, FAILED))
    return document


def ask_all(data: Path | None, services: Sequence[str], path: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that services show, each with its service's name; and who shows none, or has no database."""
    answers = asyncio.run(_ask_each(data, services, "GET", path))
    shown = {name: one.json()["data"] for name, one in answers.items() if one and one.is_success}
    rows = [{"service": service, **row} for service, found in shown.items() for row in found]
    return rows, [service for service in services if service not in shown]


def check_all_answered(data: Path | None, silent: Sequence[str]) -> None:
    """End the command with an exit code of its own where somebody did not answer."""
    if silent:
        fail(f"no answer from {', '.join(silent)}; see {command('status', data)}", TEMPORARY)


async def streams_seen(installation: Installation, within_seconds: float) -> dict[str, Any] | None:
    """What operations found of streams at its last look; None where it does not answer, or has not looked."""
    try:
        async with asyncio.timeout(within_seconds), operator_client(installation, "operations") as client:
            answer = await client.get("/v1/streams")
            found: dict[str, Any] = answer.json() if answer.is_success else {}
    except (TimeoutError, OSError, KeyError, ValueError, httpx2.HTTPError):
        return None
    return found if found.get("as_of") else None


async def is_ready(installation: Installation, client: httpx2.AsyncClient, name: str) -> bool:
    """Whether a process says itself that it is ready."""
    try:
        answer = await client.get(f"http://{HOST}:{installation.ports[f'{name}_health']}/readyz")
    except httpx2.TransportError:
        return False
    return answer.is_success


async def _ask_each(
    data: Path | None, services: Sequence[str], method: str, path: str, content: bytes | None = None
) -> Mapping[str, httpx2.Response | None]:
    installation = installed(data)

    async def ask_one(service: str) -> httpx2.Response | None:
        try:
            async with operator_client(installation, service) as client:
                return await client.request(method, path, content=content, headers=JSON)
        except httpx2.TransportError:
            return None

    return dict(zip(services, await asyncio.gather(*map(ask_one, services)), strict=True))
