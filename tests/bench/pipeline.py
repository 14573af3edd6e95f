"""`python -m tests.bench.pipeline`: steps a second through the arbiter, beside a loop written by hand.

Steps are put into the topic first; the clock runs from the first fetch until the brokers have acknowledged
the last outgoing event. Both ways take turns in one run, each on topics and databases of its own.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.events.referral import OfferReferral, StepBase
from schemas.topics import STEPS
from schemas.wire import envelope
from schemas.wire.topic import Topic, source_of
from services.referrals.settings import Settings
from services.referrals.store import SurroundingsStore
from services.referrals.wiring import wire
from services.runtime import metrics
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.kafka import BATCH_BYTES_MAX, security, topic_ids_reader
from services.runtime.process import running
from tests.bench.asyncpg_loop import drain
from tests.bench.installation import measure
from tests.support.builders import OWNER, RECEIVER, a_protocol_current, a_step, an_agency, an_entry, an_offer
from tests.support.platform import CELL, Space, TestPlatform, started_platform
from tests.support.waiting import until

NOW: Final = datetime.now(UTC)
DAY: Final = timedelta(days=1)
LIFE: Final = ("acknowledge", "accept", "start", "provide", "give_feedback")
TOPIC: Final = STEPS["health"]
"""Both agencies are of one sector here: the steps of a referral share a topic and keep their order."""


def steps_of(referral: str) -> Sequence[StepBase]:
    """The whole life of a served referral: seven steps."""
    offer: OfferReferral = an_offer(referral, consent={"expires_at": NOW + DAY})
    return (offer, *(a_step(verb, RECEIVER, referral) for verb in LIFE), a_step("close", OWNER, referral))


async def prefill(space: Space, referrals: int) -> int:
    """Put every step into the topic, step by step over all referrals, as a busy day would mix them."""
    lives = {new_id("referral"): () for _ in range(referrals)}
    made = {referral: steps_of(referral) for referral in lives}
    producer = AIOKafkaProducer(linger_ms=5, **security(space.kafka_settings("health")))
    await producer.start()
    name, headers, last = TOPIC.name(space.namespace), list(envelope.HEADERS), None
    for number in range(len(LIFE) + 2):
        for referral, steps in made.items():
            value = envelope.write(
                TOPIC, id=new_id("event"), source=source_of(CELL, "health"), key=referral, subject=referral,
                correlation=referral, caused_by=None, sequence=number + 1, at=NOW, body=steps[number],
            )  # fmt: skip
            last = await producer.send(name, value=value, key=referral.encode(), headers=headers)
    if last:
        await last
    await producer.stop()
    return referrals * (len(LIFE) + 2)


async def surround(space: Space) -> None:
    """Tell the arbiter's database what is in force."""
    database = space.database("referrals")
    async with database.transaction() as transaction:
        store = SurroundingsStore(transaction, space.outbox("referrals"), {})
        await store.keep_agencies([an_agency(OWNER, sector="health"), an_agency(RECEIVER)])
        await store.keep_protocols([a_protocol_current(valid_from=NOW - DAY, valid_until=NOW + DAY)])
        await store.keep_entries([an_entry(confirmed_at=NOW - DAY)], NOW)
        await transaction.run("DELETE FROM outbox")
    await database.close()


async def count(space: Space, sql: str) -> int:
    """One number from the arbiter's database."""
    database = space.database_as_admin("referrals")
    async with database.transaction() as transaction:
        rows = await transaction.rows(sql)
    await database.close()
    return int(rows[0][0])


async def is_drained(space: Space, referrals: int) -> bool:
    """Whether every referral has ended and nothing is left to send."""
    ended = await count(space, "SELECT count(*) FROM referral WHERE state = 'closed'")
    return ended == referrals and await count(space, "SELECT count(*) FROM outbox") == 0


async def ours(space: Space, referrals: int) -> tuple[float, float]:
    """Seconds that the arbiter takes, and its transactions for a thousand steps."""
    commits = _commits()
    async with running("referrals", space.settings(Settings, "referrals"), wire) as service:
        assert service.consumer
        await service.consumer.assigned.wait()
        began = time.perf_counter()
        await until(lambda: is_drained(space, referrals), within_seconds=300)
        seconds = time.perf_counter() - began
    return seconds, (_commits() - commits) / referrals / (len(LIFE) + 2) * 1000


def _commits() -> float:
    return sum(
        sample.value
        for metric in metrics.COMMITS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def by_hand(space: Space, steps: int) -> float:
    """Seconds that the loop written by hand takes."""
    settings = space.kafka_settings("referrals")
    name = TOPIC.name(space.namespace)
    identity = Identity("referrals", CELL, namespace=space.namespace)
    ids = dict(await asyncio.to_thread(topic_ids_reader(settings), [name]))
    consumer = AIOKafkaConsumer(max_partition_fetch_bytes=1 << 20, **security(settings))
    producer = AIOKafkaProducer(
        enable_idempotence=True, acks="all", linger_ms=0, max_batch_size=BATCH_BYTES_MAX, **security(settings)
    )
    await consumer.start()
    await producer.start()
    partitions = [TopicPartition(name, part) for part in range(TOPIC.partitions_local)]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    began = time.perf_counter()
    url = space.database_settings("referrals")
    password = space.platform.secrets.password("database", "referrals")
    dsn = url.url.replace("+asyncpg", "").replace("referrals@", f"referrals:{password}@", 1)
    topics: dict[str, Topic] = {name: TOPIC}
    await drain(dsn, consumer, producer, topics, ids, identity, steps=steps, records_max=500)
    seconds = time.perf_counter() - began
    await consumer.stop()
    await producer.stop()
    return seconds


async def compare(platform: TestPlatform, referrals: int, rounds: int) -> None:
    """Let both take turns and print medians and the ratio."""
    figures: dict[str, list[float]] = {"arbiter": [], "by hand": []}
    commits = []
    for number in range(rounds * 2):
        who = ("arbiter", "by hand")[number % 2]
        space = Space(platform)
        space.make_topics()
        await surround(space)
        steps = await prefill(space, referrals)
        if who == "arbiter":
            seconds, per_thousand = await ours(space, referrals)
            commits.append(per_thousand)
        else:
            seconds = await by_hand(space, steps)
            assert await is_drained(space, referrals)
        figures[who].append(steps / seconds)
        print(f"{who:8} {steps / seconds:8.0f} steps/s")
        space.close()
    medians = {who: statistics.median(rates) for who, rates in figures.items()}
    print(f"median: arbiter {medians['arbiter']:.0f} steps/s, by hand {medians['by hand']:.0f} steps/s")
    print(f"ratio {medians['arbiter'] / medians['by hand']:.2f}; three events sent for each step")
    print(f"commits per thousand steps: {statistics.median(commits):.1f}")


def main() -> None:
    """Read the arguments, start the platform, compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pipeline", description=__doc__)
    parser.add_argument("--referrals", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--acceptances", type=int, default=300)
    arguments = parser.parse_args()
    with started_platform() as platform:
        asyncio.run(compare(platform, arguments.referrals, arguments.rounds))
    asyncio.run(measure(arguments.acceptances))


if __name__ == "__main__":
    main()
