"""The supervisor on the real broker and database: what it starts, restarts, refuses and recovers from."""

import asyncio
import base64
import hashlib
import hmac
import os
import pwd
import re
import signal
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, UserScramCredentialDeletion

from deploy.local import accounts, configuration, control, kafka, keeper, provisioning
from deploy.local.configuration import Configuration
from deploy.local.databases import DATABASES, LOGIN_CONNECTIONS_MAX
from deploy.local.places import temporary_directory
from deploy.local.ports import trial_ports
from deploy.local.processes import PROCESSES, Process, usual_ports
from deploy.local.refusals import CannotRun
from deploy.local.supervisor import Platform, running
from services.runtime import administration
from services.runtime.administration import Difference, right
from tests.support.onlookers import looking_on
from tests.support.servers import unflushed
from tests.support.waiting import until

FEW: Final = tuple(each for each in PROCESSES if each.name in ("mail_sink", "audit", "referrals"))
MAIL_SINK: Final = FEW[:1]
SHORT_LIVED: Final = Process("audit", "tests.support.short_lived", ("health",), (), {})

FACTS: Final = "concert.referrals.facts.v1"
EXTRA_RIGHT: Final = right("health", "READ", "TOPIC", FACTS)
LISTED_RIGHT: Final = right("notifications", "READ", "TOPIC", FACTS)


def wait_for_difference(plan: Callable[[], list[Difference]]) -> list[Difference]:
    """Brokers show a change a moment after they took it."""
    ends = time.monotonic() + 20
    while not (found := plan()):
        assert time.monotonic() < ends
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with temporary_directory("concert tests ") as path:
        yield path


@pytest.fixture(scope="module")
def trial(folder: Path) -> Configuration:
    """A data directory in a path with spaces, on ports that nobody else uses."""
    return configuration.trial(folder / "some where", chosen_ports=trial_ports(usual_ports()))


@pytest.fixture(scope="module")
def second(folder: Path) -> Configuration:
    trial = configuration.trial(folder / "spare", chosen_ports=trial_ports(usual_ports()))
    trial.data.mkdir()
    configuration.write(trial)
    return trial


@pytest.fixture
def spare(second: Configuration) -> Iterator[Configuration]:
    """A second data directory, for tests whose platform does not stay well."""
    with unflushed():
        yield second


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def credentials() -> list[str]:
    """What the formatter was given of each user."""
    return []


@pytest.fixture(scope="module")
def exposed() -> set[bytes]:
    """What any account could read of arguments and environments during the first start."""
    return set()


@pytest.fixture(scope="module")
async def supervised(
    trial: Configuration, said: list[str], credentials: list[str], exposed: set[bytes]
) -> AsyncIterator[Platform]:
    real = kafka.scram_credential

    def noted(name: str, password: str) -> str:
        credentials.append(real(name, password))
        return credentials[-1]

    with pytest.MonkeyPatch.context() as patch, looking_on(os.getpid()) as seen:
        patch.setattr(kafka, "scram_credential", noted)
        async with running(trial, say=said.append, processes=FEW) as platform:
            exposed |= seen
            yield platform


async def test_everything_is_ready_and_the_state_file_tells_it(supervised: Platform) -> None:
    state = control.read_state(supervised.configuration.run)
    assert state
    assert state["state"] == "ready"
    for name in supervised.names:  # other tests kill parts before or after this one
        told = state["parts"][name]
        assert (told["state"], told["pid"], told["next_try_at"]) == ("ready", supervised.pid(name), None)
    assert (
        set(state["parts"])
        == set(supervised.names)
        == {"kafka", "postgres", "mail_sink", "audit", "referrals"}
    )


async def test_a_power_cut_takes_nothing_back_that_broker_or_database_answered(supervised: Platform) -> None:
    installation = supervised.installation

    def flushes() -> set[str]:
        with administration.connect(*installation.kafka_admin) as admin:
            told = admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, FACTS)], config_filter="all"
            )
        return {str(told["topic"][FACTS]["flush.messages"]["value"])}

    async with installation.server.connection("concert_referrals") as connection:
        settings = {
            name: await connection.fetchval(f"SHOW {name}")
            for name in ("fsync", "full_page_writes", "synchronous_commit")
        }

    assert await asyncio.to_thread(flushes) == {"1"}
    assert set(settings.values()) == {"on"}, settings


async def test_lengths_that_strangers_claim_cost_the_broker_no_memory(supervised: Platform) -> None:
    broker, writers = supervised.pid("kafka"), []
    for _ in range(600):
        _, writer = await asyncio.open_connection("127.0.0.1", supervised.installation.ports["kafka"])
        writer.write((524_287).to_bytes(4, "big") + b"\0")
        writers.append(writer)
    told = await asyncio.to_thread(provisioning.plan_topology, supervised.installation)
    for writer in writers:
        writer.close()

    assert told == []
    assert supervised.pid("kafka") == broker


async def test_no_login_of_a_service_may_take_the_places_of_all_others(supervised: Platform) -> None:
    async with supervised.installation.server.connection() as connection:
        limits = await connection.fetch(
            "SELECT rolconnlimit FROM pg_roles WHERE rolcanlogin AND NOT rolsuper"
        )

    assert {row["rolconnlimit"] for row in limits} == {LOGIN_CONNECTIONS_MAX}


async def test_services_broker_and_database_run_as_accounts_of_their_own_that_read_no_more_than_theirs(
    supervised: Platform,
) -> None:
    ids = {name: _ids(supervised.pid(name)) for name in supervised.names}
    if not accounts.is_root():
        assert set(ids.values()) == {(os.getuid(), os.getgid())}
        return

    data = supervised.configuration.data
    expected = {"kafka": "concert-kafka", "postgres": "concert-postgres"}
    readers = {
        file.name: (file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) for file in data.glob("secrets/*")
    }
    concert = pwd.getpwnam("concert").pw_gid
    assert ids == {
        name: (entry.pw_uid, entry.pw_gid)
        for name in supervised.names
        for entry in [pwd.getpwnam(expected.get(name, "concert"))]
    }
    assert readers["database-audit.password"] == (concert, 0o640)
    assert {readers[name] for name in ("kafka-admin.password", "database-postgres.password")} == {(0, 0o600)}
    assert (data / "postgres" / "cluster").stat().st_uid == ids["postgres"][0]
    assert (data / "kafka" / "records").stat().st_uid == ids["kafka"][0]


async def test_a_high_water_mark_that_is_not_the_trails_is_refused_by_its_name(supervised: Platform) -> None:
    installation, log = supervised.installation, supervised.configuration.origin
    file, (root, other) = installation.high_water_file, (bytes(32), bytes([1] * 32))
    right, ahead = a_mark(log, 5, root), a_mark(log, 6, other)
    bad = {
        "gone": None, "empty": "", "truncated": right[:-9], "cut": right[: right.index("\n") + 2],
        "another trail's": a_mark(log, 5, other), "another name's": a_mark("audit.example/x/2026", 5, root),
        "older": a_mark(log, 4, root),
    }  # fmt: skip

    await provisioning.check_high_water(installation)  # nothing was signed yet
    async with installation.server.connection(DATABASES["audit"].name) as connection:
        await connection.execute("INSERT INTO checkpoint VALUES ($1, 5, $2, '')", log, root)
        for way, text in bad.items():
            file.unlink(missing_ok=True) if text is None else file.write_text(text)
            with pytest.raises(CannotRun) as refusal:
                await provisioning.check_high_water(installation)
            assert refusal.value.sentence.startswith(f"{file} "), way
        for text in (right, ahead):
            file.write_text(text)
            await provisioning.check_high_water(installation)
        await connection.execute("DELETE FROM checkpoint")
    file.unlink()


def a_mark(log: str, size: int, root: bytes) -> str:
    return f"{log}\n{size}\n{base64.b64encode(root).decode()}\n"


def _ids(pid: int | None) -> tuple[int, int]:
    """The user and group of a process, which must be its saved and effective ones too."""
    text = Path(f"/proc/{pid}/status").read_text()
    (uid,), (gid,) = (set(line.split()[1:]) for line in re.findall(r"^[UG]id:.*", text, re.MULTILINE))
    return int(uid), int(gid)


def keys_of(credential: str) -> list[bytes]:
    """Salted password, and the client, stored and server key that follow from it."""
    found = re.search('saltedpassword="(.+?)"', credential)
    assert found
    salted = base64.b64decode(found[1])
    client, server = (hmac.digest(salted, words, "sha512") for words in (b"Client Key", b"Server Key"))
    return [salted, client, hashlib.sha512(client).digest(), server]


async def test_nothing_that_logs_in_stands_in_arguments_environments_or_logs(
    supervised: Platform, credentials: list[str], exposed: set[bytes]
) -> None:
    data = supervised.configuration.data
    files = [*data.glob("secrets/*.password"), *data.glob("secrets/*.key"), *data.glob("certificates/*.key")]
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    derived = [key for credential in credentials for key in keys_of(credential)]
    secrets = {
        *(line for line in lines if len(line) >= 16 and not line.startswith(b"-----")),
        *(base64.b64encode(key) for key in derived),
        *(key.hex().encode() for key in derived),
    }
    logs = [file.read_bytes() for file in data.glob("logs/*.log")]

    assert len(credentials) >= 2
    assert len(logs) > len(supervised.names)  # the fork server's, and those of processes that were taken away
    assert any(b"kafka.tools.StorageTool" in text or b"format.arguments" in text for text in exposed)
    assert not any(secret in text for text in (*exposed, *logs) for secret in secrets)
    assert not any(re.search(rb"(?i)salt|stored.?key|server.?key", text) for text in logs)


async def kill_process(platform: Platform, name: str) -> int:
    """SIGKILL from outside, as an accident would."""
    pid = platform.pid(name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    await platform.died(name)
    return pid


DRIFT: Final = {
    "right_unknown": lambda admin: admin.create_acls([EXTRA_RIGHT]),
    "right_missing": lambda admin: admin.delete_acls([administration.exactly(LISTED_RIGHT)]),
    "setting": lambda admin: admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, FACTS, {"retention.ms": "1000"})]
    ),
    "user_missing": lambda admin: admin.alter_user_scram_credentials(
        [UserScramCredentialDeletion("governance", "SCRAM-SHA-512")]
    ),
    "topic_missing": lambda admin: admin.delete_topics([FACTS]),
}


@pytest.mark.parametrize("kind", DRIFT)
async def test_planted_drift_of_each_kind_is_found_and_put_right(supervised: Platform, kind: str) -> None:
    installation = supervised.installation

    def plant_find_apply() -> tuple[set[str], set[str], list[Difference]]:
        with administration.connect(*installation.kafka_admin) as admin:
            DRIFT[kind](admin)
        found = wait_for_difference(lambda: provisioning.plan_topology(installation))
        changed, left = provisioning.apply_topology(installation)
        return {each.kind for each in found}, {each.kind for each in changed}, left

    found, changed, left = await asyncio.to_thread(plant_find_apply)
    assert (found, changed, left) == ({kind}, {kind}, [])
    assert await asyncio.to_thread(provisioning.plan_topology, installation) == []


async def test_making_the_databases_again_changes_nothing(supervised: Platform) -> None:
    said = list[str]()
    await provisioning.make_databases(supervised.installation, said.append)
    assert said == []


@pytest.mark.parametrize("name", ["referrals", "kafka", "postgres"])
async def test_a_part_that_is_killed_is_started_again_and_said_so(
    supervised: Platform, said: list[str], name: str
) -> None:
    already_said = len(said)
    before = await kill_process(supervised, name)
    await supervised.ready(name)
    assert supervised.pid(name) not in (before, None)
    (told,) = said[already_said:]  # the delay is longer where another test killed it before
    assert re.fullmatch(rf"{name} has ended; it is started again in [0-9.]+ s", told)
    assert await asyncio.to_thread(provisioning.plan_topology, supervised.installation) == []


async def test_a_part_that_was_stopped_on_purpose_stays_down_until_it_is_started(
    supervised: Platform, said: list[str]
) -> None:
    already_said = len(said)
    await supervised.stop("audit")
    assert supervised.pid("audit") is None
    await supervised.start("audit")
    assert supervised.pid("audit")
    assert said[already_said:] == []


async def test_processes_come_and_go_while_a_service_runs_and_share_its_partitions(
    supervised: Platform,
) -> None:
    installation, more = supervised.installation, {"referrals-2", "referrals-3"}

    def members() -> set[str]:
        with administration.connect(*installation.kafka_admin) as admin:
            [group] = admin.describe_groups(["referrals"]).values()
        return {
            str(one["group_instance_id"]).rpartition("-")[0]
            for one in group["members"]
            if (one["member_assignment"] or {}).get("assigned_partitions")
        }

    async def are(*wanted: str) -> bool:
        return await asyncio.to_thread(members) == {*wanted}

    await supervised.scale({"referrals": 3})
    await until(lambda: are("referrals-1", "referrals-2", "referrals-3"))
    told = control.read_state(supervised.configuration.run) or {}
    with pytest.raises(CannotRun, match="bad_scale"):
        await supervised.scale({"referrals": 4})
    await supervised.scale({"referrals": 1})

    assert (told["scale"], more <= {*told["parts"]}) == ({"referrals": 3}, True)
    assert {*supervised.names}.isdisjoint(more)
    assert await are("referrals-1")  # not only once the sessions of the others have ended


async def test_a_killed_fork_server_takes_its_services_along_and_all_come_back(supervised: Platform) -> None:
    before = {name: supervised.pid(name) for name in ("audit", "referrals", "mail_sink")}
    assert before["audit"]
    server = int((Path("/proc") / str(before["audit"]) / "stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(server, signal.SIGKILL)
    for name in before:
        await supervised.died(name)
    for name, pid in before.items():
        await supervised.ready(name)
        assert supervised.pid(name) not in (pid, None)


async def test_a_part_that_cannot_live_is_told_and_tried_again_while_the_others_go_on(
    spare: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LIVED_LONG_SECONDS", 0.5)
    monkeypatch.setattr(keeper, "FIRST_DELAY_SECONDS", 0.02)
    said: list[str] = []
    async with running(spare, processes=(*MAIL_SINK, SHORT_LIVED), say=said.append) as platform:
        state = control.read_state(spare.run)
        for _ in range(keeper.FAILING_FROM_DEATHS):  # the demo's mail sink, killed again and again
            await platform.ready("mail_sink")
            await kill_process(platform, "mail_sink")
        failing = control.read_state(spare.run)
        await platform.ready("mail_sink")
        await until(lambda: "mail_sink is well again" in said)

    assert state
    assert failing
    assert state["state"] == "ready"
    audit = state["parts"]["audit"]
    assert (audit["state"], audit["deaths"] >= keeper.FAILING_FROM_DEATHS) == ("failing", True)
    assert datetime.fromisoformat(audit["next_try_at"]) > datetime.now(UTC) - timedelta(seconds=10)
    assert platform.failing["audit"].last_lines[-1] == "short_lived: this is the last line"
    assert state["parts"]["mail_sink"]["state"] == "ready"
    assert failing["parts"]["mail_sink"]["state"] == "failing"
    assert len([line for line in said if line.startswith("audit cannot live")]) == 1


async def test_a_database_that_dies_again_and_again_is_tried_on_and_ends_nothing(
    spare: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FIRST_DELAY_SECONDS", 0.02)
    said: list[str] = []
    async with running(spare, processes=(), say=said.append) as platform:
        for _ in range(keeper.FAILING_FROM_DEATHS):
            await platform.ready("postgres")
            await kill_process(platform, "postgres")
        await until(lambda: "postgres" in platform.failing)
        await platform.ready("postgres")
        assert not platform.failed.done()

    assert len([line for line in said if line.startswith("postgres cannot live")]) == 1
