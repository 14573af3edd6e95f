"""What a thief of one sector's Kafka password writes to that sector's steps."""

import asyncio
import random
from collections import Counter
from typing import Final

from aiokafka import AIOKafkaProducer

from deploy.local.founding import operator_client
from schemas.topics import STEPS
from services.cli.demo.trial import Trial
from services.runtime.ids import new_id
from services.runtime.kafka import security
from services.runtime.settings import KafkaSettings
from tests.fault.hostile_bytes import BODIES, flipped
from tests.support.poison import POISON, Record, a_good_record

CODECS: Final = (None, "gzip", "snappy", "lz4", "zstd")
RECORDS_MAX: Final = 60
RESUMED_MAX: Final = 300
QUIET_SECONDS: Final = 12.0


async def send(trial: Trial, sector: str, chance: random.Random) -> Counter[str]:
    """A bounded burst in one of Kafka's codecs, poison, wrong bits, noise; what came of each record."""
    installation = trial.installation
    settings = KafkaSettings(
        bootstrap=installation.kafka.bootstrap,
        user=sector,
        password_file=installation.secrets.password_file("kafka", sector),
    )
    topic = STEPS[sector].name(installation.kafka.namespace)
    producer = AIOKafkaProducer(compression_type=chance.choice(CODECS), linger_ms=20, **security(settings))
    await producer.start()
    try:
        sent = []
        for _ in range(chance.randint(1, RECORDS_MAX)):
            key, headers, value = record(sector, chance)
            sent.append(await producer.send(topic, key=key, headers=list(headers), value=value))
        # Brokers refuse batches over their limit, which is an answer too.
        return Counter(type(one).__name__ for one in await asyncio.gather(*sent, return_exceptions=True))
    finally:
        await producer.stop()


def record(sector: str, chance: random.Random) -> Record:
    """One record that its reader must survive."""
    referral = new_id("referral")
    key, headers, value = a_good_record(referral, topic=STEPS[sector])
    kind = chance.randrange(6)
    if kind == 0:
        return chance.choice(sorted(POISON.items()))[1](referral)
    if kind == 1:
        return key, headers, flipped(chance, value or b"")
    if kind == 2:
        return chance.randbytes(chance.randint(0, 200)), (), chance.randbytes(chance.randint(0, 60_000))
    if kind == 3:
        return key, headers, chance.choice(BODIES)(chance.randint(1_000, 200_000)).encode("utf-8", "replace")
    if kind == 4:
        return key, (("x" * 200, chance.randbytes(900)),) * chance.randint(1, 300), value
    return key, headers, value  # right in itself: a step on a referral that there never was


async def resume(trial: Trial, sector: str) -> int:
    """Let every stopped partition go on, past all that was written, as an operator would; how often."""
    resumed, quiet = 0, 0
    async with operator_client(trial.installation, "operations") as operator:
        while quiet < QUIET_SECONDS and resumed < RESUMED_MAX:
            rows = (await operator.get("/v1/readers")).json()["data"]
            places = {
                (row["service"], *row["where"].split(":")[0].split("/"))
                for row in rows
                if row["service"] in ("referrals", sector)
            }
            for service, topic, partition in places:
                chosen = {"topic": topic, "partition": int(partition)}
                asked = {"act": "resume", "service": service, "chosen": chosen}
                plan = (await operator.post("/v1/plans", json=asked)).json()
                if "id" in plan:  # else nothing stands there any more
                    word = {"reason": "the attack is over", "count": plan["count"]}
                    await operator.post(f"/v1/plans/{plan['id']}/confirmation", json=word)
                    resumed += 1
            quiet = 0 if places else quiet + 1
            await asyncio.sleep(1)
    return resumed
