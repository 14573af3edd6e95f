"""`python -m tests.bench.pipeline`: steps a second through the arbiter, beside two frameworks (`peers.py`).

Steps are put into the topic first; the clock runs from the first fetch until the brokers have acknowledged
the last outgoing event. All take turns in one run, each on topics and databases of its own. It needs the
packages of `requirements-bench.lock`, which nothing else does.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaProducer

from schemas.events.referral import OfferReferral, StepBase
from schemas.topics import STEPS
from schemas.wire import envelope
from schemas.wire.topic import source_of
from services.referrals.settings import Settings
from services.referrals.store import SurroundingsStore
from services.referrals.wiring import wire
from services.runtime import metrics
from services.runtime.ids import new_id
from services.runtime.kafka import security
from services.runtime.process import running
from tests.bench.peers import PEERS, Course
from tests.support.builders import (
    OWNER,
    RECEIVER,
    a_protocol_current,
    a_step,
    an_agency,
    an_entry,
    an_offer,
    in_force,
)
from tests.support.platform import CELL, Space, TestPlatform, started_platform
from tests.support.waiting import until

NOW: Final = datetime.now(UTC)
DAY: Final = timedelta(days=1)
LIFE: Final = ("acknowledge", "accept", "start", "provide", "give_feedback")
STEPS_EACH: Final = len(LIFE) + 2
TOPIC: Final = STEPS["health"]
"""Both agencies are of one sector here: the steps of a referral share a topic and keep their order."""
AGENCIES: Final = (an_agency(OWNER, sector="health"), an_agency(RECEIVER))
PROTOCOL: Final = a_protocol_current(valid_from=NOW - DAY, valid_until=NOW + DAY)
ENTRY: Final = an_entry(confirmed_at=NOW - DAY)


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
        store = SurroundingsStore(transaction, space.outbox("referrals"), {})
        await store.keep_agencies(AGENCIES)
        await store.keep_protocols([PROTOCOL])
        await store.keep_entries([ENTRY], NOW)
        await transaction.run("DELETE FROM outbox")
    await database.close()


def pool_of(space: Space) -> Any:
    """Connections to the arbiter's database, straight on asyncpg."""
    url = space.platform.url_as_admin(space.database_name("referrals"))
    return asyncpg.create_pool(url.replace("+asyncpg", ""), min_size=4, max_size=4)


async def is_drained(pool: Any, referrals: int) -> bool:
    """Whether every referral is closed and nothing is left to send."""
    closed = await pool.fetchval("SELECT count(*) FROM referral WHERE state = 'closed'")
    return closed == referrals and not await pool.fetchval("SELECT EXISTS (SELECT FROM outbox)")


async def ours(space: Space, referrals: int) -> float:
    """Seconds that the arbiter takes, from its partitions to its last event."""
    async with (
        pool_of(space) as pool,
        running("referrals", space.settings(Settings, "referrals"), wire) as us,
    ):
        assert us.consumer
        await us.consumer.assigned.wait()
        began = time.perf_counter()
        await until(lambda: is_drained(pool, referrals), within_seconds=300)
        return time.perf_counter() - began


async def theirs(peer: str, space: Space, referrals: int) -> float:
    """Seconds that a framework takes, from its first message until its last event is acknowledged."""
    known = in_force(agencies=AGENCIES, entries=[ENTRY], protocols=[PROTOCOL.document])
    async with pool_of(space) as pool:
        course = Course(
            pool, TOPIC, CELL, space.namespace, known, referrals * STEPS_EACH, ended=asyncio.Event()
        )
        await PEERS[peer](course, space.kafka_settings("referrals"), f"{space.namespace}referrals")
        if course.failure:
            raise course.failure
        assert await is_drained(pool, referrals)
    return course.ended_at - course.began_at


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
        commits, before = _commits(), time.process_time()
        seconds = await (ours(space, count) if who == "arbiter" else theirs(who, space, count))
        steps, spent = count * STEPS_EACH, time.process_time() - before
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
