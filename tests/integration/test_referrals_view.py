"""The view of the arbiter's facts on real brokers: it equals the record, also once it was killed."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from schemas.events.referral import StepBase
from schemas.topics import REFERRALS_FACTS, REFERRALS_VIEWS
from services.referrals.handlers import Work, decide_steps
from services.referrals.store import ReferralStore
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.kafka import RelayProducer
from services.runtime.relay import relay
from services.runtime.settings import PortSettings
from services.runtime.views import ViewSettings
from tests.support.builders import (
    OWNER,
    RECEIVER,
    SECTOR_OF,
    a_protocol_current,
    a_step,
    an_agency,
    an_entry,
    an_id,
    an_offer,
    asked,
)
from tests.support.governance import KEYS
from tests.support.kafka import send_raw
from tests.support.platform import CELL, Space
from tests.support.poison import POISON_BATCHES
from tests.support.ports import free_port
from tests.support.processes import KILLED_BY_ITSELF, a_process
from tests.support.record_batches import send_batch
from tests.support.waiting import until

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
UNANSWERED = """
SELECT CASE WHEN urgency IN ('critical', 'urgent') THEN 'urgent' ELSE 'routine' END AS class,
  count(*) AS offers
FROM referral WHERE state IN ('offered', 'acknowledged') GROUP BY 1"""


@dataclass
class Watch:
    """The record, what the view says of it, and the view's settings."""

    space: Space
    database: Database
    produce: RelayProducer
    settings: ViewSettings

    async def happen(self, *steps: StepBase) -> None:
        """Let the arbiter decide steps, and its relay send what it says."""
        async with self.database.transaction() as transaction:
            store = ReferralStore(transaction, self.space.outbox("referrals"), {})
            await decide_steps([asked(step) for step in steps], Work(store, SystemClock(), KEYS))
        async with self.database.transaction() as transaction:
            while await relay(transaction, self.produce, shard=0):
                pass

    async def record(self) -> Mapping[str, int]:
        """Offers that nobody has answered, as SQL counts them."""
        async with self.database.transaction() as transaction:
            rows = await transaction.rows(UNANSWERED)
        return {row["class"]: row.offers for row in rows}

    async def sent(self) -> int:
        """How many facts the brokers hold."""
        name = REFERRALS_FACTS.name(self.space.namespace)
        async with self.database.transaction() as transaction:
            rows = await transaction.rows("SELECT id FROM outbox_sent WHERE topic = :topic", topic=name)
        return len(rows)

    async def shown(self) -> Mapping[str, Any] | None:
        """What the view shows, or None while it does not."""
        url = f"http://127.0.0.1:{self.settings.ports.health}/v1/views/referrals"
        async with httpx2.AsyncClient() as client:
            try:
                answer = await client.get(url)
            except httpx2.TransportError:
                return None
        return dict(answer.json()) if answer.is_success else None

    async def figures(self) -> Mapping[str, float]:
        """What Prometheus would read there, labels with their names."""
        async with httpx2.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.settings.ports.health}/metrics")).text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    async def is_equal(self) -> bool:
        """Whether the view says what the record says."""
        shown = await self.shown()
        if shown is None:
            return False
        unanswered = {urgency: sum(ages.values()) for urgency, ages in shown["unanswered"].items()}
        facts = sum(sum(minute["counts"].values()) for minute in shown["facts_a_minute"])
        return unanswered == await self.record() and facts == await self.sent()

    async def follows(self) -> None:
        """The view is ready, and then comes to equal the record."""
        await until(self.shown, within_seconds=60)
        await until(self.is_equal)


@pytest.fixture(scope="module")
async def watch(space: Space, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watch]:
    async with space.transaction("referrals") as transaction:
        store = ReferralStore(transaction, space.outbox("referrals"), {})
        await store.keep_agencies([an_agency(agency) for agency in SECTOR_OF])
        await store.keep_protocols([a_protocol_current(valid_from=NOW - DAY, valid_until=NOW + DAY)])
        await store.keep_entries([an_entry(confirmed_at=NOW - DAY)], NOW)
    hold = tmp_path_factory.mktemp("view") / "hold"
    hold.touch()
    settings = ViewSettings(
        mode="local",
        cell=CELL,
        kafka=space.kafka_settings(REFERRALS_VIEWS.user),
        ports=PortSettings(health=free_port()),
        hold_file=hold,
    )
    database = space.database("referrals")
    produce = RelayProducer(space.kafka_settings("referrals"), SystemClock())
    yield Watch(space, database, produce, settings)
    await produce.close()
    await database.close()


def history(name: str, number: int, *verbs: str) -> list[StepBase]:
    """Offers of every urgency, of which every other one goes on by these steps of the receiver."""
    steps: list[StepBase] = []
    for place in range(number):
        referral = an_id("referral", f"{name} {place}")
        urgency = ("critical", "urgent", "priority", "routine")[place % 4]
        steps.append(an_offer(referral, urgency=urgency, consent={"expires_at": NOW + DAY}))
        if place % 2:
            steps += [a_step(verb, RECEIVER, referral) for verb in verbs]
    return steps


async def test_the_view_equals_the_record_also_after_it_was_killed(watch: Watch, tmp_path: Path) -> None:
    log = tmp_path / "view.log"
    await watch.happen(*history("first", 40, "acknowledge"))
    topic = REFERRALS_FACTS.name(watch.space.namespace)
    await send_raw(watch.space, "referrals", topic, [(b"planted", (), b"{not json"), (b"planted", (), None)])
    for make in POISON_BATCHES.values():  # faust's own reader would end at these
        assert await send_batch(watch.space, "referrals", topic, make(an_id("referral"))) == 0

    async with a_process("referrals", watch.settings, log, word="views") as living:
        await watch.follows()
        cancelled = a_step("cancel", OWNER, an_id("referral", "first 0"))
        await watch.happen(*history("second", 40, "accept"), cancelled)
        await until(watch.is_equal)
        figures, sent = await watch.figures(), await watch.sent()
        await watch.happen(*history("third", 200, "decline"))
        living.kill()
        await living.wait()
    await watch.happen(a_step("withdraw", OWNER, an_id("referral", "first 2")))

    updated = 'concert_view_table_operations_total{operation="keys_updated",table="facts_a_minute"}'
    assert figures["concert_view_applied_total"] == sent <= figures["concert_view_received_total"]
    assert figures[updated] >= sent
    assert figures['concert_alarm{rule="view_recovers"}'] == 0

    # Killed where an event is applied and not yet acknowledged: it comes again.
    async with a_process(
        "referrals", watch.settings, log, word="views", CONCERT_CRASH_AT="view.applied"
    ) as dying:
        assert await dying.wait() == KILLED_BY_ITSELF

    async with a_process("referrals", watch.settings, log, word="views"):
        await watch.follows()
    assert b"view_failed" not in log.read_bytes()
