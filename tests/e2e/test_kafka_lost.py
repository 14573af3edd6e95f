"""The brokers' disk is gone, whole or in part, and a real installation comes back: nothing sent is lost."""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from deploy.local import configuration
from deploy.local.configuration import Configuration
from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from deploy.local.places import temporary_directory
from deploy.local.ports import trial_ports
from deploy.local.processes import KAFKA, PROCESSES, usual_ports
from deploy.local.supervisor import Platform, running
from schemas.events.referral import AcknowledgeReferral
from schemas.topics import STEPS
from services.runtime.database import Database
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.outbox import Outbox
from services.runtime.peers import internal_client
from services.runtime.settings import DatabaseSettings
from services.runtime.siblings import ALL, CHANNEL
from services.runtime.subscription import OutboxEvent
from tests.fault import strikes
from tests.support.acts import acted
from tests.support.servers import unflushed
from tests.support.waiting import until

BOTH_ENDS = tuple(each for each in PROCESSES if each.name in ("referrals", "health"))
TOPIC = STEPS["health"]
STEP_COUNT = 50
COPY = "older"


def an_older_copy(data: Path) -> None:
    """What a backup of the machine would put back: the same topics, ending earlier."""
    shutil.rmtree(data / KAFKA)
    (data / COPY).rename(data / KAFKA)


def bytes_flipped(data: Path) -> None:
    """In what nobody has read, after a clean stop: no broker looks, and behind a wrong length none finds."""
    content, length, *_ = strikes.segments(data, TOPIC.name(""))
    at, size = strikes.batches(content)[-2]
    strikes.flip(content, at + size - 1)
    at, _ = strikes.batches(length)[-2]
    strikes.flip(length, at + strikes.LENGTH_LAST_BYTE - 2)


LOSSES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "an older copy put back": (an_older_copy, "health", "log_refilled"),
    "all that the broker keeps": (lambda data: shutil.rmtree(data / KAFKA), "health", "log_refilled"),
    "bytes flipped": (bytes_flipped, "referrals", "records_unreadable"),
}
"""What befalls the broker while it is down, and who tells of it by which alarm.

Its records alone are what it loses in the runs of `concert fault`.
"""


@pytest.fixture(scope="module")
def trial() -> Iterator[Configuration]:
    with temporary_directory("concert-lost-") as folder:
        yield configuration.trial(folder / "installation", chosen_ports=trial_ports(usual_ports()))


@asynccontextmanager
async def up(trial: Configuration) -> AsyncIterator[Platform]:
    with unflushed():
        async with running(trial, processes=BOTH_ENDS) as platform:
            for refusal in platform.failing.values():
                raise refusal
            yield platform


async def written(installation: Installation, keys: Sequence[str]) -> None:
    """A step about each of these referrals, as another process of the health sector writes it."""
    url = installation.server.url.set(
        drivername="postgresql+asyncpg", database=DATABASES["health"].name
    ).render_as_string(hide_password=False)
    database = Database(DatabaseSettings(url=url), application="tests", pool=1)
    outbox = Outbox(Identity("health", installation.configuration.cell))
    now = datetime.now(UTC)
    steps = [AcknowledgeReferral(referral=key, agency="north-clinic", duty="intake") for key in keys]
    async with database.transaction() as transaction:
        await outbox.add(transaction, [OutboxEvent(TOPIC, step, now) for step in steps])
        await transaction.run("SELECT pg_notify(:channel, :news)", channel=CHANNEL, news=f"outbox {ALL}")
    await database.close()


async def count(installation: Installation, service: str, sql: str, *arguments: object) -> int:
    async with installation.server.connection(DATABASES[service].name) as connection:
        return int(await connection.fetchval(sql, *arguments))


async def is_sent(installation: Installation) -> bool:
    return await count(installation, "health", "SELECT count(*) FROM outbox") == 0


async def all_applied(installation: Installation, keys: Sequence[str]) -> bool:
    """Whether each of these steps took effect."""
    return len(keys) == await count(
        installation,
        "referrals",
        "SELECT count(*) FROM sequence_in WHERE topic = $1 AND key = ANY($2::bytea[])",
        TOPIC.title,
        [key.encode() for key in keys],
    )


async def answers(installation: Installation) -> int:
    """How many facts the arbiter has written."""
    sql = """SELECT count(DISTINCT (topic, key, sequence))
             FROM (SELECT topic, key, sequence FROM outbox UNION ALL
                   SELECT topic, key, sequence FROM outbox_sent) o WHERE key NOT LIKE 'rcp%'"""
    return await count(installation, "referrals", sql)


async def has_read_beyond_the_flipped(installation: Installation) -> bool:
    return bool(await count(installation, "referrals", "SELECT count(*) FROM dead_letter"))


async def standing(installation: Installation, service: str) -> set[str]:
    """The alarms over a service's partitions; as if an operator had looked, they end."""
    async with installation.server.connection(DATABASES[service].name) as connection:
        sql = "UPDATE partition_alarm SET ended_at = clock_timestamp() WHERE ended_at IS NULL RETURNING rule"
        return {row["rule"] for row in await connection.fetch(sql)}


async def mended(platform: Platform, data: Path) -> None:
    """What the alarms name for flipped bytes: the writer sends again; a partition that stands is given up."""
    await platform.stop(KAFKA)
    shutil.rmtree(strikes.segments(data, TOPIC.name(""))[1].parent)
    await platform.start(KAFKA)
    its = platform.installation
    tls, address = its.certificates.tls_settings("operations"), its.internal_url("health")
    async with internal_client(tls, "health", base_url=address, seconds=30) as operations:  # none runs here
        status, answer = await acted(operations, "refill")
    assert status == 200, answer


async def flipped_and_killed(platform: Platform, data: Path) -> None:
    """A byte flipped under a broker that is killed: it looks through its log, and cuts it there."""
    pid = platform.pid(KAFKA)
    assert pid
    os.kill(pid, signal.SIGSTOP)
    segment = strikes.segments(data, TOPIC.name(""))[0]
    at, size = strikes.batches(segment)[-2]
    strikes.flip(segment, at + size - 1)
    os.kill(pid, signal.SIGKILL)
    await platform.died(KAFKA)
    await platform.ready(KAFKA)


async def test_steps_that_no_reader_had_read_are_sent_again_and_those_that_were_do_nothing_twice(
    trial: Configuration,
) -> None:
    unread: list[str] = []
    for loss in (None, *LOSSES):
        damage, teller, rule = LOSSES[loss] if loss else (None, "health", None)
        if damage:
            damage(trial.data)
        async with up(trial) as platform:
            its = platform.installation
            if damage is bytes_flipped:
                await until(partial(has_read_beyond_the_flipped, its))
                await mended(platform, trial.data)
            await until(partial(all_applied, its, unread))
            told = await standing(its, teller)
            assert rule in told if rule else not told, (loss, told)
            read, *behind = ([new_id("referral") for _ in range(STEP_COUNT)] for _ in range(3))
            await written(its, read)
            unread += read
            await until(partial(all_applied, its, unread))
            assert await answers(its) == len(unread), loss
            waiting = "SELECT count(*) FROM dead_letter WHERE state = 'waiting' AND reason <> 'corrupt_batch'"
            assert await count(its, "referrals", waiting) == 0, loss
            if loss is None:
                subprocess.run(["cp", "-a", trial.data / KAFKA, trial.data / COPY], check=True)
            await platform.stop("referrals")
            for keys in behind:
                await written(its, keys)
                unread += keys
                await until(partial(is_sent, its))
            if loss == [*LOSSES][-1]:
                await flipped_and_killed(platform, trial.data)
                await platform.start("referrals")
                await until(partial(all_applied, its, unread))
                assert "log_refilled" in await standing(its, "health")
