"""The sweeper is killed where it hurts: what was due is done once, by whoever comes next."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.topics import TOPICS
from schemas.wire.envelope import HEADERS, read
from services.referrals.domain.referral import Outcome
from services.referrals.domain.steps import decide
from services.referrals.settings import Settings
from services.referrals.store import ReferralStore
from services.referrals.wiring import wire
from services.runtime.database import Database
from services.runtime.process import running
from tests.support.builders import (
    SECTOR_OF,
    a_protocol,
    a_protocol_current,
    an_agency,
    an_entry,
    an_id,
    an_offer,
    asked,
    in_force,
)
from tests.support.platform import CELL, Space
from tests.support.processes import KILLED_BY_ITSELF, a_process
from tests.support.waiting import until

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
LIVE = {"valid_from": NOW - 9 * DAY, "valid_until": NOW + DAY}
KNOWN = in_force(entries=[an_entry(confirmed_at=NOW)], protocols=[a_protocol(**LIVE)])


async def offered_long_ago(
    space: Space, database: Database, count: int, at: datetime = NOW - 8 * DAY
) -> list[str]:
    """So many referrals whose time to answer has passed."""
    outcomes: list[Outcome] = []
    for _ in range(count):
        offer = an_offer(an_id("referral"), consent={"expires_at": NOW + DAY}, urgency="routine")
        outcomes.append(decide(None, asked(offer, at=at), KNOWN, at=at))
    outbox = space.outbox("referrals")
    async with database.transaction() as transaction:
        surroundings = ReferralStore(transaction, outbox, {})
        await surroundings.keep_agencies([an_agency(agency) for agency in SECTOR_OF])
        await surroundings.keep_protocols([a_protocol_current(**LIVE)])
        await ReferralStore(transaction, outbox, {}).save(outcomes, KNOWN)
    return [outcome.referral.id for outcome in outcomes if outcome.referral]


async def expiries(database: Database, space: Space, referrals: list[str]) -> list[tuple[str, str]]:
    """Referral and addressee of each `expired` that was written, sent or not."""
    by_name = {topic.name(space.namespace): topic for topic in TOPICS}
    sql = """SELECT topic, key, value FROM outbox UNION ALL SELECT topic, key, value FROM outbox_sent"""
    async with database.transaction() as transaction:
        rows = await transaction.rows(sql)
    found = []
    for row in rows:
        event = read(by_name[row.topic], HEADERS, row.key, row.value, cell=CELL, mode="local")
        if event.key in referrals and event.body.type == "referral.expired":
            found.append((event.key, str(event.body.model_dump()["to"])))
    return sorted(found)


@pytest.mark.parametrize("crash_at", ["sweeper.found", "sweeper.written"])
async def test_a_sweeper_killed_midway_leaves_nothing_half_done(space: Space, crash_at: str) -> None:
    async with AsyncExitStack() as stack:
        database = space.database("referrals")
        stack.push_async_callback(database.close)
        referrals = await offered_long_ago(space, database, 5)

        settings = space.settings(Settings, "referrals", look_for_due_every_seconds=0.1)
        async with a_process("referrals", settings, CONCERT_CRASH_AT=crash_at) as process:
            assert await asyncio.wait_for(process.wait(), 60) == KILLED_BY_ITSELF
        assert await expiries(database, space, referrals) == []

        async with running("referrals", settings, wire):
            await until(lambda: _all_expired(space, database, referrals))

        told = await expiries(database, space, referrals)
    parties = ("None", "harbour-clinic", "harbour-social")  # None: what statistics are told
    assert told == sorted((referral, party) for referral in referrals for party in parties)


async def _all_expired(space: Space, database: Database, referrals: list[str]) -> bool:
    async with database.transaction() as transaction:
        found = await ReferralStore(transaction, space.outbox("referrals"), {}).load(referrals)
    return all(referral and referral.state == "expired" for referral in found.values())


@pytest.mark.skipif(not FAKETIME, reason="the package faketime is not installed")
async def test_a_leap_of_the_machines_clock_expires_no_offer(space: Space, tmp_path: Path) -> None:
    database = space.database("referrals")
    referrals = await offered_long_ago(space, database, 3, at=NOW)
    settings = space.settings(Settings, "referrals", look_for_due_every_seconds=0.1)
    wall, log = tmp_path / "wall", tmp_path / "log"
    leaping = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(wall),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    try:
        wall.write_text("+0")
        async with a_process("referrals", settings, log, fds=(), **leaping):
            await until(lambda: "service_started" in log.read_text())
            wall.write_text("+20d")
            await until(lambda: "clock_leapt" in log.read_text())
            really_due = await offered_long_ago(space, database, 1)  # a sweep that saw the leap finds it
            await until(lambda: _all_expired(space, database, really_due))
            at_once = await expiries(database, space, referrals)
        async with a_process("referrals", settings, log, fds=(), **leaping):  # it knows of no leap
            await until(lambda: _all_expired(space, database, referrals))
    finally:
        await database.close()

    assert at_once == []
