"""An installation of the commit before is taken on by this code: nothing is lost, and nothing done twice."""

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from deploy.local.configuration import load
from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client
from deploy.local.installation import Installation
from deploy.local.places import temporary_directory
from deploy.local.supervisor import running
from schemas.trail.notes import named_key
from services.audit.verifier.check import check
from services.audit.verifier.kit import Kit
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, CLOSE, PROVIDE, SEAL, START, AgencyClient
from services.cli.demo.trial import listening
from services.cli.packet_keys import PacketKey
from services.cli.tokens import token_client
from services.cli.trail import download
from tests.e2e import half_way
from tests.e2e.test_survivor_referred_across_four_sectors import TOLD, take
from tests.support.servers import unflushed
from tests.support.shared import REPOSITORY

BEFORE: Final = "CONCERT_TEST_BEFORE"
"""Which commit is taken for the one before; else the parent."""
LOCK: Final = "requirements.lock"
STEPS: Final = (ACKNOWLEDGE, ACCEPT, START, PROVIDE, CLOSE)
FACTS: Final = ("referral.offered", *(step.fact for step in STEPS), "referral.seal_confirmed", SEAL.fact)
pytestmark = pytest.mark.timeout(240)


def git(*words: str) -> bytes | None:
    """What git says of this repository; None where it says no, or is not there."""
    try:
        return subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def put_before(tree: Path) -> None:
    """The files of the commit before, or the test is skipped."""
    commit = os.environ.get(BEFORE) or "HEAD^"
    packed = git("archive", "--format=tar", commit)
    if packed is None:
        pytest.skip(f"1 case skipped: the commit {commit} is not at hand")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    if (tree / LOCK).read_bytes() != (REPOSITORY / LOCK).read_bytes():
        pytest.skip(f"1 case skipped: the commit {commit} needs other packages than are here")
    ours = Path(half_way.__file__)
    if not (theirs := tree / ours.relative_to(REPOSITORY)).exists():
        shutil.copy(ours, theirs)


async def entries(installation: Installation, folder: Path) -> list[bytes | None]:
    """The trail as it is now; the verifier finds it sound."""
    async with operator_client(installation, "audit") as client:
        size = await download(client, installation.log_key, folder)
    kit = Kit(folder, named_key(installation.log_key))
    assert check(kit).failure is None
    return list(kit.entries(size))


async def count(installation: Installation, table: str) -> dict[str, int]:
    """How many rows each service has in a table that all have."""
    found = {}
    for service, database in DATABASES.items():
        async with installation.server.connection(database.name) as connection:
            if await connection.fetchval("SELECT to_regclass($1)", table):
                found[service] = await connection.fetchval(f"SELECT count(*) FROM {table}")
    return found


@asynccontextmanager
async def taken_on(data: Path) -> AsyncIterator[tuple[Installation, AgencyClient, AgencyClient]]:
    """What `up` makes of a data directory, and two agencies that follow their feeds from the beginning."""
    async with AsyncExitStack() as stack:
        its = (await stack.enter_async_context(running(load(data)))).installation
        issuer = token_client(its)
        clients = [AgencyClient(one, its.api_url(one.sector), issuer) for one in half_way.parties()]
        for client in clients:
            await stack.enter_async_context(client.http)
        await stack.enter_async_context(listening(clients))
        owner, receiver = clients
        yield its, owner, receiver


async def facts_told(party: AgencyClient, referral: str) -> list[tuple[int, str]]:
    """Number and type of all that an agency's feed holds of a referral, from its beginning."""
    return [(one.number, one.type) for one in await party.whole_feed() if one.referral == referral]


async def test_what_the_commit_before_left_half_done_this_one_ends_and_loses_nothing() -> None:
    with temporary_directory("concert-upgrade-") as folder, temporary_directory("concert-before-") as tree:
        put_before(tree)
        command = [sys.executable, "-P", "-m", "tests.e2e.half_way", str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        before = await asyncio.to_thread(
            subprocess.run, command, cwd=tree, env=environment, capture_output=True, text=True
        )
        assert before.returncode == 0, before.stderr
        referrals = json.loads((folder / half_way.REFERRALS).read_text())
        moved, offered, asked = (referrals[name] for name in ("moved", "offered", "asked"))

        with unflushed():
            async with taken_on(folder / half_way.INSTALLATION) as (its, owner, receiver):
                for referral, fact in (
                    (moved, START.fact), (offered, ACKNOWLEDGE.fact), (asked, "referral.offered"),
                ):  # fmt: skip
                    for party in (owner, receiver):
                        await party.told(referral, fact)
                receiver.packet_key = PacketKey.read(folder / half_way.PACKET_KEY)
                pull = await receiver.pull_packet(moved, ["contact"])
                opened = receiver.open_packet(pull.content, its.secrets.public_key("vault-social_services"))
                await take(owner, receiver, moved, PROVIDE, CLOSE, SEAL)
                await take(owner, receiver, offered, ACCEPT)
                await take(owner, receiver, asked, ACKNOWLEDGE)
                ends = {
                    referral: [(await party.read_referral(referral))["state"] for party in (owner, receiver)]
                    for referral in (moved, offered, asked)
                }
                told = [await facts_told(party, moved) for party in (owner, receiver)]
                letters = await count(its, "dead_letter")
                now = await entries(its, folder / "trail-now")
        kit = Kit(folder / half_way.TRAIL, named_key(its.log_key))
        then = list(kit.entries(kit.read_checkpoint().size))

    assert ends == {moved: ["sealed"] * 2, offered: ["accepted"] * 2, asked: ["acknowledged"] * 2}
    assert told == [list(enumerate(FACTS, start=1))] * 2
    assert opened["contact"]["safe_contact"]["channels"] == TOLD["contact"]["safe_contact"]["channels"]
    assert {service for service, left in letters.items() if left} == set()
    assert len(now) > len(then) > 0
    assert now[: len(then)] == then
