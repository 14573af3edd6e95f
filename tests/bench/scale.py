"""`python -m tests.bench.scale`: what a thousand steps cost with one arbiter and with three, and at rest.

Steps pile up while the arbiters stand still, so that each has as much to take at once as it wants; CPU is
that of the arbiters' processes alone. One and three take turns on one installation, medians are compared.
Besides, the same for steps that come faster than they are taken, but a hundred at a time.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2

from deploy.local import configuration
from deploy.local.places import temporary_directory
from deploy.local.ports import trial_ports
from deploy.local.processes import usual_ports
from deploy.local.supervisor import Platform, running
from services.runtime.ids import new_id
from tests.e2e.test_kafka_lost import BOTH_ENDS, all_applied, count, is_sent, written
from tests.support.servers import unflushed
from tests.support.waiting import until

Load = Callable[[Platform, Sequence[str]], Awaitable[None]]
TICKS: Final = os.sysconf("SC_CLK_TCK")
REST_SECONDS: Final = 10.0
WARMING: Final = 3
COMMITS: Final = re.compile(r"^concert_consumer_commits_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


def arbiters(platform: Platform) -> list[str]:
    return [name for name in platform.names if name.startswith("referrals")]


def pids(platform: Platform) -> list[int]:
    return [pid for name in arbiters(platform) if (pid := platform.pid(name))]


def cpu_seconds(platform: Platform) -> float:
    """What the arbiters have used until now."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids(platform)]
    return sum(int(each[11]) + int(each[12]) for each in stats) / TICKS


async def commits(platform: Platform) -> float:
    """How many batches they have applied until now."""
    async with httpx2.AsyncClient() as client:
        ports = [platform.installation.ports[f"{name}_health"] for name in arbiters(platform)]
        texts = [(await client.get(f"http://127.0.0.1:{port}/metrics")).text for port in ports]
    return sum(float(found) for text in texts for found in COMMITS.findall(text))


async def answered(platform: Platform, keys: Sequence[str]) -> None:
    """Wait until all are applied, and what the arbiters say of them is with the brokers."""
    its = platform.installation
    await until(partial(all_applied, its, keys), 120)

    async def is_empty() -> bool:
        return await count(its, "referrals", "SELECT count(*) FROM outbox") == 0

    await until(is_empty, 120)


async def piled_up(platform: Platform, keys: Sequence[str]) -> None:
    """Steps with the brokers before the arbiters see the first."""
    its = platform.installation
    for pid in pids(platform):
        os.kill(pid, signal.SIGSTOP)
    try:
        for start in range(0, len(keys), 1_000):
            await written(its, keys[start : start + 1_000])
        await until(partial(is_sent, its))
    finally:
        for pid in pids(platform):
            os.kill(pid, signal.SIGCONT)


async def arriving(platform: Platform, keys: Sequence[str]) -> None:
    """Steps a hundred at a time, one hundred after the other."""
    for start in range(0, len(keys), 100):
        await written(platform.installation, keys[start : start + 100])


async def cost_of(platform: Platform, load: Load, thousands: int) -> tuple[float, int]:
    """CPU-seconds for a thousand steps, and steps in a batch."""
    keys = [new_id("referral") for _ in range(thousands * 1_000)]
    before, applied = cpu_seconds(platform), await commits(platform)
    await load(platform, keys)
    await answered(platform, keys)
    cost = (cpu_seconds(platform) - before) / thousands
    return round(cost, 3), round(len(keys) / (await commits(platform) - applied))


LOADS: Final = {"piled_up": piled_up, "arriving": arriving}


async def measure(rounds: int, thousands: int) -> dict[str, Any]:
    """CPU-seconds a thousand steps and steps a batch of each round, by load and number of arbiters."""
    found: dict[str, dict[int, list[tuple[float, float]]]] = {load: {1: [], 3: []} for load in LOADS}
    rest: dict[int, float] = {}
    with temporary_directory("concert-bench-") as folder, unflushed():
        trial = configuration.trial(folder / "installation", chosen_ports=trial_ports(usual_ports()))
        async with running(trial, processes=BOTH_ENDS) as platform:
            for _ in range(rounds):
                for processes in (1, 3):
                    await platform.scale({"referrals": processes})
                    await cost_of(platform, arriving, WARMING)  # all have partitions, and met every statement
                    for load, run in LOADS.items():
                        found[load][processes].append(await cost_of(platform, run, thousands))
                    before = cpu_seconds(platform)
                    await asyncio.sleep(REST_SECONDS)
                    rest[processes] = round((cpu_seconds(platform) - before) / REST_SECONDS, 4)
    medians = {
        load: {one: statistics.median(cost for cost, _ in each) for one, each in by_count.items()}
        for load, by_count in found.items()
    }
    return {
        "cpu_seconds_a_thousand_and_steps_a_batch": found,
        "medians": medians,
        "three_to_one": {load: round(each[3] / each[1], 3) for load, each in medians.items()},
        "cpu_share_at_rest": rest,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--thousands", type=int, default=5)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(measure(arguments.rounds, arguments.thousands)), indent=1))
