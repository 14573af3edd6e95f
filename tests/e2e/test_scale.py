"""Two services as several processes, under load: added, taken away, killed, stopped past their session."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
from kafka.errors import KafkaError

from deploy.local import configuration
from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from deploy.local.places import temporary_directory
from deploy.local.ports import trial_ports
from deploy.local.processes import usual_ports
from deploy.local.supervisor import Platform, running
from services.runtime import administration
from services.runtime.ids import new_id
from tests.e2e.test_kafka_lost import BOTH_ENDS, all_applied, count, written
from tests.support.servers import unflushed
from tests.support.waiting import until

LEASE_SECONDS = 6
PROCESSES = ("referrals", "referrals-2", "referrals-3", "health", "health-2")
pytestmark = pytest.mark.timeout(240)


class Load:
    """Steps that are answered all the while, each about a referral of its own."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.answered: list[str] = []

    async def more(self, batches: int) -> None:
        """Answer so many more batches at least."""
        wanted = len(self.answered) + 5 * batches
        await until(lambda: len(self.answered) >= wanted)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._answer())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await until(partial(all_applied, self._installation, self.answered), 60)

    async def _answer(self) -> None:
        while True:
            keys = [new_id("referral") for _ in range(5)]
            await asyncio.shield(written(self._installation, keys))
            self.answered += keys
            await asyncio.sleep(0.05)


async def readers(its: Installation) -> dict[str, int]:
    """Each member of the arbiter's group, and of how many partitions."""

    def ask() -> dict[str, int]:
        try:
            with administration.connect(*its.kafka_admin) as admin:
                [group] = admin.describe_groups(["referrals"]).values()
        except KafkaError:  # a broker that has just begun knows no groups yet
            return {}
        return {
            one["group_instance_id"].rpartition("-")[0]: sum(
                len(topic["partitions"])
                for topic in (one["member_assignment"] or {}).get("assigned_partitions", ())
            )
            for one in group["members"]
        }

    return await asyncio.to_thread(ask)


async def state(its: Installation) -> tuple[int, ...]:
    """What changes in the arbiter's database whenever a step is applied; receipts come and go later."""
    facts = "count(*) FROM outbox_sent WHERE key NOT LIKE 'rcp%'"
    tables = ("count(*) FROM inbox", facts)
    return tuple([await count(its, "referrals", f"SELECT {one}") for one in tables])


async def is_quiet(its: Installation) -> bool:
    before = await state(its)
    await asyncio.sleep(1)
    return before == await state(its) and not await count(its, "referrals", "SELECT count(*) FROM outbox")


async def test_processes_come_go_die_and_stand_still_and_nothing_is_lost_or_done_twice() -> None:
    more = {name: {"CONCERT_LEASE_SECONDS": str(LEASE_SECONDS)} for name in PROCESSES}
    with temporary_directory("concert-scale-") as folder, unflushed():
        trial = configuration.trial(folder / "installation", chosen_ports=trial_ports(usual_ports()))
        async with running(trial, processes=BOTH_ENDS, more=more) as platform:
            its, load = platform.installation, Load(platform.installation)
            async with load.running():
                await load.more(2)
                await platform.scale({"referrals": 3, "health": 2})
                await until(lambda: _shared(its, 3))
                for name in ("referrals", "referrals-3", "health"):
                    await killed(platform, name)
                    await load.more(1)
                await until(lambda: _shared(its, 3))
                stopped = platform.pid("referrals-2")
                assert stopped
                os.kill(stopped, signal.SIGSTOP)
                await until(lambda: _shared(its, 2), LEASE_SECONDS + 20)
                await load.more(5)
            await until(partial(is_quiet, its))  # all that was answered was applied while it stood still
            before = await state(its)
            os.kill(stopped, signal.SIGCONT)
            await until(lambda: _shared(its, 3))
            assert (await state(its), platform.pid("referrals-2")) == (before, stopped)

            async with load.running():
                await load.more(2)
                await platform.scale({"referrals": 1, "health": 1})
                assert (await readers(its)).keys() == {"referrals-1"}  # before any session ends
                await load.more(2)
            await until(partial(is_quiet, its))
            answers = """SELECT count(*), count(DISTINCT key), max(sequence)
                         FROM (SELECT key, sequence FROM outbox_sent WHERE key NOT LIKE 'rcp%') o"""
            async with its.server.connection(DATABASES["referrals"].name) as connection:
                assert tuple(await connection.fetchrow(answers)) == (*[len(load.answered)] * 2, 1)
            assert await count(its, "referrals", "SELECT count(*) FROM dead_letter") == 0


async def killed(platform: Platform, name: str) -> None:
    pid = platform.pid(name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    await platform.died(name)
    await platform.ready(name)


async def _shared(its: Installation, processes: int) -> bool:
    """Whether so many members have the partitions among them."""
    return [count > 0 for count in (await readers(its)).values()] == [True] * processes
