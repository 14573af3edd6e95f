"""`python -m tests.bench.acceptance`: one acceptance on a whole installation, leg by leg, and what it costs.

An acceptance goes from the receiver's POST over the arbiter to both agencies' feeds, then the receiver looks
at its worklist. Sent at steady rates, with the settings of `concert up`; prints how long each leg takes, and
the CPU time of each process.
"""

import argparse
import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.places import temporary_directory
from schemas.topics import INBOX, STEPS
from services.cli.agency_client import ACCEPT, AgencyClient
from services.cli.demo.trial import Trial, listening, running_trial, set_up
from tests.support.waiting import until

RATES: Final = (10, 25)
QUIET_SECONDS: Final = 2.0
LEGS: Final = (
    "answered 202",
    "step on the bus",
    "fact on the bus",
    "in the receiver's feed",
    "in its worklist",
)
Arrivals = dict[tuple[str, str], list[float]]
"""Topic and key → when each of its records reached the brokers' readers."""


def silent(_text: str) -> None:
    """Nobody needs the progress here."""


@asynccontextmanager
async def observed(trial: Trial) -> AsyncIterator[Arrivals]:
    """Reads steps and inboxes beside the services, as the brokers' administrator."""
    bootstrap, user, password = trial.installation.kafka_admin
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512", sasl_plain_username=user, sasl_plain_password=password,
    )  # fmt: skip
    arrivals: Arrivals = defaultdict(list)
    await consumer.start()
    topics = [topic for table in (STEPS, INBOX) for topic in table.values()]
    consumer.assign(
        [TopicPartition(topic.name(), part) for topic in topics for part in range(topic.partitions_local)]
    )
    await consumer.seek_to_end()

    async def read() -> None:
        async for record in consumer:
            arrivals[record.topic, record.key.decode()].append(time.perf_counter())

    reading = asyncio.create_task(read())
    try:
        yield arrivals
    finally:
        reading.cancel()
        await consumer.stop()


async def accept_at(rate: int, trial: Trial, arrivals: Arrivals, count: int) -> None:
    """Accept so many offers at a steady rate, and print legs and costs."""
    agencies, waiting = trial.agencies, []
    for number in range(count):
        owner = trial.clients[agencies[number % len(agencies)].id]
        receiver = trial.clients[agencies[(number + 3) % len(agencies)].id]
        waiting.append((receiver, await offered(owner, receiver)))
    await asyncio.sleep(QUIET_SECONDS)
    arrivals.clear()
    before, began = cpu_seconds(trial), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_accept(receiver, referral, number / rate, arrivals))
            for number, (receiver, referral) in enumerate(waiting)
        ]
    await asyncio.sleep(QUIET_SECONDS)
    seconds, after = time.perf_counter() - began, cpu_seconds(trial)
    print(f"{count} acceptances at {rate}/s, from the POST on:")
    for leg, times in zip(LEGS, zip(*(task.result() for task in tasks), strict=True), strict=True):
        tail = statistics.quantiles(times, n=100)[98]
        print(f"  {leg:24} p50 {statistics.median(times) * 1000:5.1f} ms   p99 {tail * 1000:5.1f} ms")
    costs = {name: (after[name] - before[name]) / count * 1000 for name in after}
    for name, cost in sorted(costs.items(), key=lambda each: -each[1]):
        print(f"  {name:24} {cost:5.1f} ms of CPU")
    print(f"  {'all':24} {sum(costs.values()):5.1f} ms of CPU an acceptance, over {seconds:.0f} s")


async def _accept(
    receiver: AgencyClient, referral: str, wait_seconds: float, arrivals: Arrivals
) -> tuple[float, ...]:
    await asyncio.sleep(wait_seconds)
    began = time.perf_counter()
    sector = receiver.agency.sector
    await receiver.step(referral, ACCEPT)
    answered = time.perf_counter()
    await receiver.told(referral, ACCEPT.fact)
    told = time.perf_counter()
    while not any(
        row["referral"] == referral and row["state"] == "accepted" for row in await receiver.read_worklist()
    ):
        await asyncio.sleep(0)
    listed = time.perf_counter()
    places = [(table[sector].name(), referral) for table in (STEPS, INBOX)]
    await until(lambda: all(arrivals.get(place) for place in places))
    step, fact = (arrivals[place][0] for place in places)
    return tuple(at - began for at in (answered, step, fact, told, listed))


async def offered(owner: AgencyClient, receiver: AgencyClient) -> str:
    """A referral that its receiver knows of and has not answered."""
    sent = await owner.offer(await owner.prepare(receiver.agency, urgency="routine"))
    await receiver.told(sent.referral, "referral.offered")
    return sent.referral


def cpu_seconds(trial: Trial) -> Mapping[str, float]:
    """What each part has spent so far, with the processes below it."""
    spent = {}
    for name in trial.platform.names:
        process = psutil.Process(trial.platform.pid(name))
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        spent[name] = sum(one.user + one.system for one in times)
    return spent


def memory_megabytes(pid: int | None) -> float:
    """The proportional set size of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) / 1024


async def measure(count: int, idle_seconds: float) -> None:
    """Start on new data, start again, rest, then accept at each rate; prints all figures."""
    with temporary_directory("concert-bench-") as folder:
        for how in ("on new data", "again, warm"):
            began = time.perf_counter()
            async with running_trial(folder / "installation", silent, more={}) as trial:
                print(f"start {how}: {time.perf_counter() - began:.1f} s until everything is ready")
                if how == "again, warm":
                    await set_up(trial)
                    await _rest(trial, idle_seconds)
                    async with listening(trial.clients.values()), observed(trial) as arrivals:
                        for rate in RATES:
                            await accept_at(rate, trial, arrivals, count)


async def _rest(trial: Trial, seconds: float) -> None:
    await asyncio.sleep(QUIET_SECONDS)
    before = cpu_seconds(trial)
    await asyncio.sleep(seconds)
    after = cpu_seconds(trial)
    shares = {name: (after[name] - before[name]) / seconds * 100 for name in after}
    for name, share in shares.items():
        print(f"idle {name:16} {share:5.2f} % of a core {memory_megabytes(trial.platform.pid(name)):6.0f} MB")
    print(f"idle {'all':16} {sum(shares.values()):5.2f} % of a core")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.acceptance", description=__doc__)
    parser.add_argument("--acceptances", type=int, default=200, help="at each rate")
    parser.add_argument("--idle", type=float, default=10, help="seconds of rest")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.acceptances, arguments.idle))


if __name__ == "__main__":
    main()
