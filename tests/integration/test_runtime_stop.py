"""SIGTERM under load: the process leaves in order and in time, and what it had in hand is not lost."""

import asyncio
import json
import signal
from collections.abc import Sequence

import pytest

from schemas.topics import INBOX
from services.referrals.settings import Settings
from services.referrals.wiring import wire
from services.runtime.ids import new_id
from services.runtime.process import GRACE_SECONDS, running
from services.runtime.settings import DatabaseSettings
from tests.support.kafka import send_raw
from tests.support.platform import Space
from tests.support.poison import HEALTH_STEPS, a_good_record
from tests.support.processes import a_process, start_process
from tests.support.waiting import until

STEP_COUNT = 1_500
ANSWERED = """
SELECT count(*) AS answers, count(DISTINCT key) AS referrals
FROM (SELECT key, topic FROM outbox UNION ALL SELECT key, topic FROM outbox_sent) answered
WHERE topic = :topic AND key = ANY(CAST(:keys AS bytea[]))"""


async def answers(space: Space, keys: Sequence[str]) -> tuple[int, int]:
    """How many answers the arbiter has written to these steps, and to how many of them."""
    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows(
            ANSWERED, topic=INBOX["health"].name(space.namespace), keys=[key.encode() for key in keys]
        )
    return rows[0].answers, rows[0].referrals


async def left(space: Space) -> int:
    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows("SELECT count(*) AS pending FROM outbox")
    return int(rows[0].pending)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_under_load_it_leaves_in_order_and_loses_nothing(
    space: Space, number: signal.Signals
) -> None:
    settings = space.settings(Settings, "referrals", batch_records_max=50)
    keys = [new_id("referral") for _ in range(STEP_COUNT)]
    records = [a_good_record(key) for key in keys]
    await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), records)

    async with a_process("referrals", settings) as process:
        await until(lambda: _begun(space, keys))
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), GRACE_SECONDS + 5) == 0
    before, _ = await answers(space, keys)
    async with running("referrals", settings, wire):
        await until(lambda: _all_answered(space, keys))

    assert 0 < before < STEP_COUNT
    assert await answers(space, keys) == (STEP_COUNT, STEP_COUNT)


async def _begun(space: Space, keys: Sequence[str]) -> bool:
    return (await answers(space, keys))[0] > 0


async def _all_answered(space: Space, keys: Sequence[str]) -> bool:
    return (await answers(space, keys))[1] == len(keys) and await left(space) == 0


async def test_a_process_that_fails_tells_classes_and_places_and_no_text(space: Space) -> None:
    """Python's own last words would be the error's text, and a driver's text holds what it was given."""
    settings = space.settings(Settings, "referrals")
    nowhere = DatabaseSettings(url="postgresql+asyncpg://quillon@127.0.0.1:1/quillon")

    lost = settings.model_copy(update={"database": nowhere})
    process = await start_process("referrals", lost, log=asyncio.subprocess.PIPE)
    told, said = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 1
    assert json.loads(told.splitlines()[-1])["error_class"] == "Unavailable"
    assert b"check_schema" in said
    assert b"does not answer" not in said
