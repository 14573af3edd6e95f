"""Outbox, relay, brokers, consumer, inbox: one event takes effect once, in order, whatever comes twice."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from schemas.events.referral import AcknowledgeReferral
from schemas.topics import STEPS as STEP_TOPICS
from schemas.wire.envelope import ReadEvent
from services.runtime.ids import new_id
from services.runtime.process import Parts, Runtime, ServiceProcess, running
from services.runtime.settings import RuntimeSettings
from services.runtime.subscription import OutboxEvent, Subscription
from services.runtime.transaction import Transaction
from tests.support.platform import Space
from tests.support.waiting import until

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def a_step(referral: str) -> OutboxEvent:
    body = AcknowledgeReferral(referral=referral, agency="north-clinic", duty="intake")
    return OutboxEvent(STEP_TOPICS["health"], body, AT)


@asynccontextmanager
async def a_writer(space: Space) -> AsyncIterator[Runtime]:
    made: list[Runtime] = []

    def wire(runtime: Runtime, _settings: Any) -> Parts:
        made.append(runtime)
        return Parts()

    async with running("health", space.settings(RuntimeSettings, "health"), wire):
        yield made[0]


@asynccontextmanager
async def a_reader(space: Space, seen: list[ReadEvent[Any]]) -> AsyncIterator[ServiceProcess]:
    async def keep(events: Sequence[ReadEvent[Any]], _work: Transaction) -> None:
        seen.extend(events)

    def wire(_runtime: Runtime, _settings: Any) -> Parts:
        return Parts(subscriptions=(Subscription((STEP_TOPICS["health"],), keep),))

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), wire) as reader:
        yield reader


async def test_what_was_committed_arrives_once_and_in_order(space: Space) -> None:
    referrals = [new_id("referral") for _ in range(20)]
    seen: list[ReadEvent[Any]] = []

    async with a_writer(space) as writer:
        for _ in range(5):
            async with writer.database.transaction() as transaction:
                await writer.outbox.add(transaction, [a_step(referral) for referral in referrals])
        async with a_reader(space, seen):
            await until(lambda: len(seen) >= 100)

    for referral in referrals:
        assert [event.sequence for event in seen if event.key == referral] == [1, 2, 3, 4, 5]
    assert len({event.id for event in seen}) == 100
    await asyncio.sleep(0)
