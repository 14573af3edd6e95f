"""`concert trail export DIR` writes the access trail as files, `concert trail verify DIR` checks them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from deploy.local.founding import operator_client
from deploy.local.installation import Installation
from deploy.local.refusals import CannotRun
from schemas.trail.bytes import encoded
from schemas.trail.notes import named_key, signed_checkpoint
from schemas.trail.tiles import ENTRIES, levels_of, tiles_of_level
from services.audit.verifier.__main__ import run
from services.audit.verifier.kit import CHECKPOINT, DETAILS, POLICY
from services.cli.installed import DataDirectory, installed
from services.cli.talk import CONFLICT, fail, failures_told, say
from services.runtime.errors import Unavailable
from services.runtime.ids import random_bytes

app = typer.Typer(no_args_is_help=True, help="The access trail: export it, verify it offline.")


@app.command("verify")
def verify(
    source: Annotated[Path, typer.Argument(help="A directory with an exported trail.")],
    log_key: Annotated[
        str | None, typer.Option(help="The log's key, known from elsewhere: name+id+key.")
    ] = None,
    subject_keys: Annotated[Path | None, typer.Option(help="Lines of subject id, space, base64 key.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say whether an exported trail is sound: exit 0 sound, 7 not sound, 1 could not look."""
    raise typer.Exit(run(source, log_key, subject_keys, for_machines=json))


@app.command("export")
def export(
    directory: Annotated[Path, typer.Argument(help="Where to write; a new or empty directory.")],
    details: Annotated[
        bool, typer.Option("--details", help="Open every entry too; that is itself an entry.")
    ] = False,
    purpose: Annotated[str, typer.Option(help="Why the details are opened: a code.")] = "oversight",
    data: DataDirectory = None,
) -> None:
    """Write the trail of the running installation as static files that anybody can verify."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        fail("the directory is not empty; name a new one", CONFLICT)
    with failures_told():
        size = asyncio.run(_export(installed(data), directory, purpose if details else None))
    say(f"{size} entries written; verify them with: concert trail verify {directory}")


async def _export(installation: Installation, directory: Path, purpose: str | None) -> int:
    try:
        async with operator_client(installation, "audit") as client:
            return await download(client, installation.log_key, directory, purpose=purpose)
    except httpx2.TransportError as error:
        raise Unavailable("the trail does not answer; try again") from error


async def download(
    client: httpx2.AsyncClient, log_key: str, directory: Path, *, purpose: str | None = None
) -> int:
    """Write checkpoint, tiles and bundles, and with a purpose the details too; the number of entries.

    The checkpoint comes last: a directory without one is an export that did not end.
    """
    origin = log_key.partition("+")[0]
    log = "/log/" + origin.partition("/")[2]
    note = await _fetched(client, f"{log}/checkpoint")
    try:
        size = signed_checkpoint(note.decode("utf-8"), named_key(log_key)).size
    except ValueError:
        raise _refusal("showed a checkpoint that the log's key did not sign") from None
    _write(directory / POLICY, f"log {log_key}\nquorum none\n".encode())
    for level in (ENTRIES, *levels_of(size)):
        for tile in tiles_of_level(level, size):
            _write(directory / tile.path, await _fetched(client, f"{log}/{tile.path}"))
    if purpose is not None:
        await _open_details(client, directory / DETAILS, size, purpose)
    _write(directory / CHECKPOINT, note)
    return size


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _refusal(why: str) -> CannotRun:
    return CannotRun("cannot_export", f"The trail {why}.")


async def _fetched(client: httpx2.AsyncClient, path: str) -> bytes:
    answer = await client.get(path)
    if answer.status_code == 404:
        raise _refusal("has no such part, or has signed nothing yet; try again")
    if answer.status_code != 200:
        raise _refusal(f"answered with status {answer.status_code}")
    return answer.content


async def _open_details(client: httpx2.AsyncClient, file: Path, size: int, purpose: str) -> None:
    body = {"idem": encoded(random_bytes(16)), "purpose": purpose, "size": size}
    async with client.stream("POST", "/v1/openings", json=body) as answer:
        if answer.status_code != 200:
            raise _refusal(f"did not open its details: status {answer.status_code}")
        with file.open("wb") as out:
            async for piece in answer.aiter_bytes():
                out.write(piece)
