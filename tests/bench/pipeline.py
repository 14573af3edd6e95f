"""`python -m tests.bench.pipeline`: steps a second through the arbiter, beside two frameworks (`peers.py`).

Steps are put into the topic first; the clock runs from the first fetch until the brokers have acknowledged
the last outgoing event. All take turns in one run, each on topics and databases of its own. It needs the
packages of `requirements-bench.lock`, which nothing else does.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaProducer

from schemas.events.referral import OfferReferral, StepBase
from schemas.wire import envelope
from schemas.wire.topic import source_of
from services.referrals.settings import Settings
from services.referrals.store import ReferralStore
from services.referrals.wiring import wire
from services.runtime import metrics
from services.runtime.ids import new_id
from services.runtime.kafka import security
from services.runtime.process import running
from tests.bench.peers import AGENCIES, DAY, ENTRY, NOW, PEERS, PROTOCOL, TOPIC
from tests.support.builders import OWNER, RECEIVER, a_step, an_offer
from tests.support.platform import CELL, Space, TestPlatform, started_platform
from tests.support.waiting import until

LIFE: Final = ("acknowledge", "accept", "start", "provide", "give_feedback")
STEPS_EACH: Final = len(LIFE) + 2


def steps_of(referral: str) -> Sequence[StepBase]:
    """The whole life of a served referral: seven steps."""
    offer: OfferReferral = an_offer(referral, consent={"expires_at": NOW + DAY})
    return (offer, *(a_step(verb, RECEIVER, referral) for verb in LIFE), a_step("close", OWNER, referral))


async def prefill(space: Space, referrals: int) -> None:
    """Put every step into the topic, step by step over all referrals, as a busy day would mix them."""
    made = {referral: steps_of(referral) for referral in (new_id("referral") for _ in range(referrals))}
    producer = AIOKafkaProducer(linger_ms=5, **security(space.kafka_settings("health")))
    await producer.start()
    name, headers, last = TOPIC.name(space.namespace), list(envelope.HEADERS), None
    for number in range(STEPS_EACH):
        for referral, steps in made.items():
            value = envelope.write(
                TOPIC, steps[number], id=new_id("event"), source=source_of(CELL, "health"),
                sequence=number + 1, at=NOW,
            )  # fmt: skip
            last = await producer.send(name, value=value, key=referral.encode(), headers=headers)
    if last:
        await last
    await producer.stop()


async def surround(space: Space) -> None:
    """Tell the arbiter's database what is in force."""
    database = space.database("referrals")
    async with database.transaction() as transaction:
        store = ReferralStore(transaction, space.outbox("referrals"), {})
        await store.keep_agencies(AGENCIES)
        await store.keep_protocols([PROTOCOL])
        await store.keep_entries([ENTRY], NOW)
        await transaction.run("DELETE FROM outbox")
    await database.close()


def dsn_of(space: Space) -> str:
    """The arbiter's database, straight on asyncpg."""
    return space.platform.url_as_admin(space.database_name("referrals")).replace("+asyncpg", "")


async def is_drained(pool: Any, referrals: int) -> bool:
    """Whether every referral is closed and nothing is left to send."""
    closed = await pool.fetchval("SELECT count(*) FROM referral WHERE state = 'closed'")
    return closed == referrals and not await pool.fetchval("SELECT EXISTS (SELECT FROM outbox)")


async def ours(space: Space, referrals: int) -> tuple[float, float]:
    """Seconds that the arbiter takes, from its partitions to its last event, and those of CPU."""
    settings, before = space.settings(Settings, "referrals"), time.process_time()
    async with (
        asyncpg.create_pool(dsn_of(space), min_size=1) as pool,
        running("referrals", settings, wire) as service,
    ):
        assert service.consumer
        await service.consumer.assigned.wait()
        began = time.perf_counter()
        await until(lambda: is_drained(pool, referrals), within_seconds=300)
        return time.perf_counter() - began, time.process_time() - before


async def theirs(peer: str, space: Space, referrals: int) -> tuple[float, float]:
    """The same of a framework, in a process of its own."""
    kafka = space.kafka_settings("referrals").model_dump(mode="json")
    asked = {"dsn": dsn_of(space), "kafka": kafka, "steps": referrals * STEPS_EACH}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.peers", peer, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    said, _ = await process.communicate(json.dumps(asked).encode())
    async with asyncpg.create_pool(dsn_of(space), min_size=1) as pool:
        assert await is_drained(pool, referrals)
    seconds, cpu_seconds = json.loads(said.splitlines()[-1])
    return seconds, cpu_seconds


def _commits() -> float:
    return sum(
        sample.value
        for metric in metrics.COMMITS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def compare(platform: TestPlatform, referrals: int, share: int, rounds: int) -> None:
    """Let all take turns, the frameworks over a share of the steps, and print medians and ratios."""
    figures: dict[str, list[float]] = {who: [] for who in ("arbiter", *PEERS)}
    for who in (who for _ in range(rounds) for who in figures):
        space = Space(platform)
        space.make_topics()
        await surround(space)
        count = referrals if who == "arbiter" else referrals // share
        await prefill(space, count)
        commits, steps = _commits(), count * STEPS_EACH
        seconds, spent = await (ours(space, count) if who == "arbiter" else theirs(who, space, count))
        more = f", {(_commits() - commits) / steps * 1000:.1f} commits per 1000" if who == "arbiter" else ""
        print(f"{who:10} {steps / seconds:8.0f} steps/s, {spent / steps * 1e6:.0f} µs of CPU a step{more}")
        figures[who].append(steps / seconds)
        space.close()
    medians = {who: statistics.median(rates) for who, rates in figures.items()}
    print("median: " + ", ".join(f"{who} {rate:.0f} steps/s" for who, rate in medians.items()))
    for peer in PEERS:
        print(f"arbiter : {peer} = {medians['arbiter'] / medians[peer]:.1f}; three events out for each step")


def main() -> None:
    """Read the arguments, start the platform, compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pipeline", description=__doc__)
    parser.add_argument("--referrals", type=int, default=2000)
    parser.add_argument("--share", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with started_platform() as platform:
        asyncio.run(compare(platform, arguments.referrals, arguments.share, arguments.rounds))


if __name__ == "__main__":
    main()
