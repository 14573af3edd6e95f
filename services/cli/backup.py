"""`concert backup DIR`, `concert backup-key KEYFILE`: copies of all databases, the secrets sealed apart."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.local.backups import (
    KEPT_APART,
    SEALED,
    BackupKey,
    BackupManifest,
    DatabaseCopy,
    file_of,
    new_folder,
    seal_secrets,
    write_manifest,
)
from deploy.local.configuration import Configuration, load
from deploy.local.database_copies import (
    ORDER,
    REPLACED_KEPT,
    copy_out,
    database_server,
    drop_replaced,
    record_act,
    server_version,
    snapshots,
)
from services.cli.installed import DataDirectory
from services.cli.talk import AsJson, command, say, show
from services.runtime.clock import SystemClock
from services.runtime.crash import crash_point

app = typer.Typer()


@app.command("backup-key")
def backup_key(file: Annotated[Path, typer.Argument(metavar="KEYFILE", help="Must not exist.")]) -> None:
    """Example: `concert backup-key KEYFILE`, on a machine that is no part of the installation.

    Keeps the private half in KEYFILE, which only a restore on a new machine needs, and prints the public one.
    """
    print(BackupKey.create(file).text)
    say(f"What is printed, or a file of it, is the recipient. Next: {command('backup --help', None)}.")


@app.command("backup")
def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, on an encrypted disk.")],
    recipient: Annotated[str, typer.Option(metavar="KEY|FILE", help="The public key for the secrets.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert backup DIR --recipient FILE`, whether everything runs or nothing does.

    Copies every database as it is at one moment; secrets are sealed to the recipient. What opens packets, or
    what was erased, is in no backup: the vaults' folders and the trail's wrapping key are kept apart.
    """
    key = BackupKey.named(recipient)
    manifest = asyncio.run(back_up(load(data), directory.absolute(), key))
    shown = manifest.model_dump(mode="json", exclude={"sig"})
    lines = [f"{name}\t{copy.bytes} bytes" for name, copy in manifest.databases.items()]
    show(shown, [*lines, f"trail\t{manifest.trail_size} entries"], as_json=as_json)
    apart = ", ".join(f"secrets/{pattern}" for pattern in KEPT_APART)
    say(f"Not in it, to be kept elsewhere: {apart}, vaults/. Next: {command(f'restore {directory}', data)}.")


async def back_up(configuration: Configuration, directory: Path, recipient: BackupKey) -> BackupManifest:
    """Makes the folder; one that was cut off has no name and no manifest."""
    async with database_server(configuration, say) as installation:
        with new_folder(directory) as folder:
            made_at = SystemClock().now()
            copies: dict[str, DatabaseCopy] = {}
            async with snapshots(installation) as taken:
                for service in ORDER:
                    await copy_out(installation, service, taken[service], folder / f"{service}.dump")
                    crash_point("backup.copied")
                    copies[service] = _copy_of(folder / f"{service}.dump", taken[service]._asdict())
            seal_secrets(installation, recipient, folder / SEALED)
            manifest = BackupManifest(
                made_at=made_at,
                mode=configuration.mode,
                cell=configuration.cell,
                origin=configuration.origin,
                postgres=await server_version(installation),
                trail_size=taken["audit"].trail_size,
                databases=copies,
                secrets=file_of(folder / SEALED),
            )
            manifest = write_manifest(folder, manifest, installation)
            counts = {"databases": len(copies), "trail_size": manifest.trail_size}
            # Before it has its name: none is there of which the trail is not told.
            await record_act(installation, "backup", counts, reason="backup")
        for name in await drop_replaced(installation, made_at):
            say(f"{name}, put aside by a restore {REPLACED_KEPT.days} days ago, was removed.")
    return manifest


def _copy_of(file: Path, taken: Mapping[str, Any]) -> DatabaseCopy:
    found = file_of(file)
    told = {name: taken[name] for name in ("revisions", "epoch")}
    return DatabaseCopy(bytes=found.bytes, sha256=found.sha256, **told)
