"""The brokers' disk is gone, whole or in part, and a real installation comes back: nothing sent is lost."""

import shutil
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
from deploy.local.processes import PROCESSES, usual_ports
from deploy.local.supervisor import Platform, running
from schemas.events.referral import AcknowledgeReferral
from schemas.topics import STEPS
from services.runtime.database import Database
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.outbox import Outbox
from services.runtime.settings import DatabaseSettings
from services.runtime.subscription import OutboxEvent
from tests.support.servers import unflushed
from tests.support.waiting import until

BOTH_ENDS = tuple(each for each in PROCESSES if each.name in ("referrals", "health"))
TOPIC = STEPS["health"]
STEP_COUNT = 50
LOSSES: dict[str, Callable[[Path], Path]] = {
    "all that the broker keeps": lambda data: data / "kafka",
    "its records alone": lambda data: data / "kafka" / "records",
}


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
    """A step about each of these referrals, as the health sector answers 202."""
    url = installation.server.url.set(
        drivername="postgresql+asyncpg", database=DATABASES["health"].name
    ).render_as_string(hide_password=False)
    database = Database(DatabaseSettings(url=url), application="tests", pool=1)
    outbox = Outbox(Identity("health", installation.configuration.cell))
    now = datetime.now(UTC)
    steps = [AcknowledgeReferral(referral=key, agency="north-clinic", duty="intake") for key in keys]
    async with database.transaction() as transaction:
        await outbox.add(transaction, [OutboxEvent(TOPIC, step, now) for step in steps])
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


async def test_steps_that_no_reader_had_read_are_sent_again_and_those_that_were_do_nothing_twice(
    trial: Configuration,
) -> None:
    unread: list[str] = []
    for loss in (None, *LOSSES):
        if loss:
            shutil.rmtree(LOSSES[loss](trial.data))
        async with up(trial) as platform:
            its = platform.installation
            await until(partial(all_applied, its, unread))
            told = "SELECT count(*) FROM partition_alarm WHERE rule = 'log_refilled' AND ended_at IS NULL"
            assert bool(loss) == bool(await count(its, "health", told)), loss
            read, behind = ([new_id("referral") for _ in range(STEP_COUNT)] for _ in range(2))
            await written(its, read)
            unread += read
            await until(partial(all_applied, its, unread))
            assert await answers(its) == len(unread), loss
            assert await count(its, "referrals", "SELECT count(*) FROM dead_letter") == 0
            if loss != [*LOSSES][-1]:
                await platform.stop("referrals")
                await written(its, behind)
                unread += behind
                await until(partial(is_sent, its))
