"""`concert trail …`: export the access trail as files, verify them, and the way back after a restore."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Final

import httpx2
import typer

from deploy.local import configuration, control, database_copies, log_recovery
from deploy.local.configuration import Configuration
from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client
from deploy.local.installation import Installation
from deploy.local.refusals import CannotRun
from schemas.topics import SECTORS
from schemas.trail.bytes import encoded
from schemas.trail.notes import named_key, signed_checkpoint
from schemas.trail.tiles import ENTRIES, levels_of, tiles_of_level
from services.audit.verifier.__main__ import run
from services.audit.verifier.kit import CHECKPOINT, DETAILS, POLICY
from services.cli.installed import READY_POLL_SECONDS, DataDirectory, installed, is_ready
from services.cli.talk import (
    CONFLICT,
    TEMPORARY,
    AsJson,
    check_reason,
    command,
    fail,
    failures_told,
    say,
    show,
)
from services.runtime.errors import Unavailable
from services.runtime.ids import random_bytes

app = typer.Typer(no_args_is_help=True, help="The access trail: export it, verify it offline.")


NEW_LOG: Final = (
    " Else a new log begins. The old one ends at entry {kept}; it can be exported (--log) and verified as "
    "before, and its later checkpoints prove that there was more. Lost is what later entries said. Permits "
    "of the old log open nothing more. Sectors tell the new one their subjects, ledgers and erasures again. "
    "Whoever pinned the old log's key needs the new one's."
)
WAYS: Final = {
    "none": "The database holds all {signed} entries of {origin} that were signed. Subjects that were "
    "registered since are put back, if a restore put them aside; sequencer and signer are started anew.",
    "entries": "Of {signed} signed entries of {origin} the database holds {kept}. The rest is in what the "
    "last restore put aside, and leads to the signed root byte for byte. It is put back, and the log goes on "
    "at {goes_on_at} under its name: every checkpoint, permit and export stays good; nothing signed is lost.",
    "new_log": "Of {signed} signed entries of {origin} the database holds {kept}; the others cannot be had "
    "again: services keep neither salt nor tag of what they reported. If a newer copy of the database can be "
    "restored, do that." + NEW_LOG,
    "no_mark": "The database holds {kept} signed entries of {origin}; the signer's mark is gone, so nobody "
    "knows how many more there were. If the mark (audit/high_water) can be put back, do that." + NEW_LOG,
    "finish": "A new log, {origin}, was begun; what was left to do about that is done.",
}
"""What a way means, in words."""
VERBS: Final = {"entries": "recover_trail", "new_log": "begin_log"}
READY_WITHIN_SECONDS: Final = 120.0


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
    log: Annotated[int | None, typer.Option(min=1, help="An earlier log of the year, by number.")] = None,
    data: DataDirectory = None,
) -> None:
    """Write the trail of the running installation as static files that anybody can verify."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        fail("the directory is not empty; name a new one", CONFLICT)
    with failures_told():
        size = asyncio.run(_export(installed(data), directory, purpose if details else None, log))
    say(f"{size} entries written; verify them with: concert trail verify {directory}")


@app.command("recover")
def recover(
    reason: Annotated[
        str | None, typer.Option(help="Why, without a word on any person; it is kept. Then it is done.")
    ] = None,
    new_log: Annotated[
        bool, typer.Option("--new-log", help="Agree to a new log, where the plan knows no other way.")
    ] = False,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert trail recover`, once the signer halted because the trail is shorter than it signed.

    Says what would be done and changes nothing; with a reason it is done. Cut off, do it again. Entries that
    the last restore put aside are put back, byte for byte; where they are gone a new log begins.
    """
    check_reason(reason)
    found, waiting = asyncio.run(recovered(configuration.load(data), reason, agrees=new_log))
    shown = {name: getattr(found, name) for name in ("way", "origin", "signed", "kept", "goes_on_at")}
    words = WAYS["no_mark"] if found.way == "new_log" and found.signed == found.kept else WAYS[found.way]
    show(shown | {"waiting": waiting}, [words.format(**shown)], as_json=as_json)
    if reason is None:
        say(f"Nothing was changed. Next, if this is to be done: {command('trail recover --help', data)}")
    elif found.way == "new_log" and not new_log:
        fail("nothing was changed: give --new-log too, which nobody can take back", CONFLICT)
    elif waiting:
        fail(f"{', '.join(waiting)} serve nothing yet; see {command('status', data)}", TEMPORARY)
    else:
        say(f"Next: {command('status', data)}.")


async def recovered(
    configured: Configuration, reason: str | None, *, agrees: bool
) -> tuple[log_recovery.Recovery, list[str]]:
    """The plan, done where there is a reason; and who does not serve yet."""
    async with database_copies.database_server(configured, say) as installation:
        found = await log_recovery.plan(installation)
        if reason is None or (found.way == "new_log" and not agrees):
            return found, []
        if verb := VERBS.get(found.way):  # before it is done: cut off, it is told twice, and never not at all
            counts = {name: getattr(found, name) for name in ("signed", "kept", "goes_on_at")}
            await database_copies.record_act(installation, verb, counts, reason=reason)
        await log_recovery.DO[found.way](installation, found)
        return found, await _not_ready(installation) if control.is_running(configured.run) else []


async def _not_ready(installation: Installation) -> list[str]:
    """Which of those that were started anew do not say that they are ready, after a while."""
    waiting, ends = [*DATABASES["audit"].logins, *SECTORS], time.monotonic() + READY_WITHIN_SECONDS
    async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as client:
        while waiting and time.monotonic() < ends:
            await asyncio.sleep(READY_POLL_SECONDS)
            waiting = [name for name in waiting if not await is_ready(installation, client, name)]
    return waiting


async def _export(installation: Installation, directory: Path, purpose: str | None, log: int | None) -> int:
    log_key = installation.log_key_of(log) if log else installation.log_key
    try:
        async with operator_client(installation, "audit") as client:
            return await download(client, log_key, directory, purpose=purpose)
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
        await _open_details(client, directory / DETAILS, size, purpose, origin)
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


async def _open_details(client: httpx2.AsyncClient, file: Path, size: int, purpose: str, origin: str) -> None:
    body = {"idem": encoded(random_bytes(16)), "purpose": purpose, "size": size, "log": origin}
    async with client.stream("POST", "/v1/openings", json=body) as answer:
        if answer.status_code != 200:
            raise _refusal(f"did not open its details: status {answer.status_code}")
        with file.open("wb") as out:
            async for piece in answer.aiter_bytes():
                out.write(piece)
