"""`concert restore DIR`: a plan of what is replaced; with a reason it is done, and ends with a report."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from deploy.local import backups, configuration, control, database_copies
from deploy.local.backups import BackupKey, BackupManifest
from deploy.local.configuration import LOG_NUMBER, Configuration
from deploy.local.database_copies import ORDER
from deploy.local.installation import Installation
from deploy.local.places import make_directory, write_private
from schemas.topics import SERVICES, TOPICS
from services.cli.installed import READY_POLL_SECONDS, DataDirectory, ask, is_ready
from services.cli.talk import TEMPORARY, AsJson, check_choices, check_reason, command, fail, say, show
from services.runtime.clock import SystemClock
from services.runtime.schema import WITHOUT_KAFKA

app = typer.Typer()

AGREED_WITHIN_SECONDS: Final = 300.0
KEYS_LAST_DAYS: Final = 35
"""A vault destroys an epoch's key so long after its beginning: with it, older copies open nothing."""


@app.command("restore")
def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `concert backup` made.")],
    only: Annotated[str | None, typer.Option(help=f"One of: {', '.join(SERVICES)}.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, without a word on any person; it is kept. Then it is done.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="On a new machine: put back missing secrets.")
    ] = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert restore DIR`, `concert restore DIR --only health --reason "disk lost"`.

    Shows what would be replaced and changes nothing. With a reason it is done: at once for all databases or
    not at all; processes of these services are ended and start again by themselves. A service serves once it
    and its neighbours agree. What was replaced is kept beside it until the next restore, a week at most. The
    trail in use stays, if it is the longer one, unless it is named: then `concert trail recover` goes on.
    """
    if only is not None:
        check_choices([only], SERVICES, "--only")
    check_reason(reason)
    outcome = asyncio.run(
        bring_back(configuration.load(data), directory.absolute(), only, reason=reason, key=key)
    )
    show(outcome, [*_lines(outcome)], as_json=as_json)
    if reason is None:
        say(f"Nothing was changed. Next, if this is to be done: {command('restore --help', data)}")
        return
    if "audit" in outcome["services"]:
        since = "what was signed, and who was registered, since the backup"
        say(f"The trail lacks {since}; what can be had again: {command('trail recover', data)}.")
    if outcome["waiting"]:
        fail(f"{', '.join(outcome['waiting'])} serve nothing yet; see {command('status', data)}", TEMPORARY)
    else:
        say(f"Next: {command('status' if outcome['is_running'] else 'up', data)}.")


@app.command("serve")
def serve(
    service: Annotated[str, typer.Argument(help=f"Who was put back; one of: {', '.join(SERVICES)}.")],
    without: Annotated[str, typer.Option(help="The neighbour that is waited for no more.")],
    reason: Annotated[
        str | None, typer.Option(help="Why, without a word on any person; it is kept. Then it is done.")
    ] = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert serve health --without referrals`, where `concert status` says `neighbour_awaited`.

    A service that was put back serves once its neighbours agree. This lets it serve without one of them that
    never will; it changes nothing until there is a reason.
    """
    check_choices([service], SERVICES, "SERVICE")
    check_choices([without], _neighbours(service), "--without")
    check_reason(reason)
    lacks = f"What {without} sent, and neither this backup nor the brokers hold, {service} then lacks; "
    lines = [f"{lacks}that may be a withdrawal. Once it is there: {command('refill', data)} {without}."]
    if reason is None:
        show({"service": service, "without": without}, lines, as_json=as_json)
        say(f"Nothing was changed. Next, if this is to be done: {command('serve --help', data)}")
        return
    body = json.dumps({"neighbour": without, "reason": reason}).encode()
    show(ask(data, service, "POST", "/v1/absences", body), lines, as_json=as_json)
    say(f"Next: {command('status', data)}.")


async def bring_back(
    configured: Configuration,
    directory: Path,
    only: str | None,
    *,
    reason: str | None,
    key: Path | None = None,
) -> dict[str, Any]:
    """The plan, and with a reason what became of it."""
    manifest = backups.read_manifest(directory)
    is_new = key is not None and not (configured.data / configuration.FILE_NAME).exists()
    if is_new and reason is None:
        return {"is_running": False, "services": _plan(manifest, [only] if only else ORDER), "waiting": []}
    if key and reason:
        configured = _as_on_the_old_machine(configured, manifest) if is_new else configured
        back = backups.put_back_secrets(directory, Installation(configured, {}), BackupKey.read(key))
        say(f"{len(back)} secrets were put back.")
    is_running = control.is_running(configured.run)
    async with database_copies.database_server(configured, say, is_new=is_new) as installation:
        backups.check_backup(directory, manifest, installation, database_copies.known_revisions())
        await database_copies.check_server(installation, manifest.postgres)
        services = [only] if only else [*ORDER]
        in_use = await database_copies.trail_size(installation)
        if in_use and not only and (in_use >= manifest.trail_size or manifest.origin != configured.origin):
            # Put back, it would lack what others did since, and the signer would never sign it again.
            services.remove("audit")
        outcome: dict[str, Any] = {
            "is_running": is_running,
            "services": _plan(manifest, services),
            "waiting": [],
        }
        if reason is None:
            return outcome
        if not is_running:  # on a new machine there is nothing to replace yet
            await installation.server.apply(installation.database_passwords)
        await _replace(installation, directory, manifest, services, reason)
        if is_running:
            outcome["waiting"] = await _wait(installation, services)
            for name in {*services} - {*outcome["waiting"], *WITHOUT_KAFKA}:
                outcome["services"][name]["found"] = await database_copies.report_of(installation, name)
        return outcome


def _as_on_the_old_machine(configured: Configuration, manifest: BackupManifest) -> Configuration:
    """An empty data directory becomes that of the installation which made the backup."""
    *_, jurisdiction, log = manifest.origin.split("/")
    year, _, number = log.partition("-")
    named = {"mode": manifest.mode, "cell": manifest.cell, "jurisdiction": jurisdiction, "year": int(year)}
    if number:
        write_private(make_directory(configured.data, 0o711) / LOG_NUMBER, f"{number}\n")
    return configured.model_copy(update=named)


async def _replace(
    installation: Installation,
    directory: Path,
    manifest: BackupManifest,
    services: Sequence[str],
    reason: str,
) -> None:
    for service in services:
        await database_copies.copy_in(installation, service, directory / f"{service}.dump")
        if service not in WITHOUT_KAFKA:
            at_least = manifest.databases[service].epoch
            epoch = await database_copies.raise_epoch(installation, service, manifest.made_at, at_least)
            say(f"{service}: copied; it writes as epoch {epoch}")
    counts = {"databases": len(services), "age_seconds": int(_age_seconds(manifest))}
    is_fresh = database_copies.ACTS_OF in services  # the act must stand in what will be in use
    await database_copies.record_act(installation, "restore", counts, reason=reason, is_fresh=is_fresh)
    await database_copies.exchange(installation, services)


async def _wait(installation: Installation, services: Sequence[str]) -> list[str]:
    """Waits until each service serves; who still does not."""
    ends = time.monotonic() + AGREED_WITHIN_SECONDS
    waiting = [*services]
    async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as client:
        while waiting and time.monotonic() < ends:
            await asyncio.sleep(READY_POLL_SECONDS)
            waiting = [name for name in waiting if not await _serves(installation, client, name)]
    return waiting


async def _serves(installation: Installation, client: httpx2.AsyncClient, service: str) -> bool:
    if not await is_ready(installation, client, service):
        return False
    return not await database_copies.is_restoring(installation, service)


def _plan(manifest: BackupManifest, services: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {
        service: {
            "copied_at": manifest.made_at.isoformat(timespec="seconds"),
            "age_seconds": int(_age_seconds(manifest)),
            "asks": _neighbours(service),
        }
        for service in services
    }


def _neighbours(service: str) -> list[str]:
    """Whom it asks what they have received from it, and to send again what it lacks."""
    pairs = {(topic.writer, reader) for topic in TOPICS for reader in topic.readers}
    return sorted({name for pair in pairs if service in pair for name in pair} - {service})


def _age_seconds(manifest: BackupManifest) -> float:
    return max((SystemClock().now() - manifest.made_at).total_seconds(), 0.0)


def _lines(outcome: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, row in outcome["services"].items():
        asks = ", ".join(row["asks"]) or "nobody"
        lines.append(f"{name}\tof {row['copied_at']}, {row['age_seconds']} s old\tasks {asks}")
        if found := row.get("found"):
            lines.append(f"{name}\t{found.get('events_sent_again', 0)} events were sent to it again")
            lines += [f"{name}\tserves without what {one} holds" for one in found.get("without", ())]
        if row["age_seconds"] > KEYS_LAST_DAYS * 86_400:
            lines.append(f"{name}\tolder than {KEYS_LAST_DAYS} days: its packets open no more")
    return lines
