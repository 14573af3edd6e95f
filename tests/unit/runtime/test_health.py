"""Alive means that it answers; what waits in a database is tried with a real one elsewhere."""

import asyncio
import socket
import time
from datetime import UTC, datetime

import httpx2
import pytest

from services.runtime.alarms import Alarm
from services.runtime.database import Database
from services.runtime.health import Health, health_app
from services.runtime.metrics import ALONE, DEAD_LETTER_DEPTH, OUTBOX_PENDING
from services.runtime.settings import DatabaseSettings

NOWHERE = DatabaseSettings(url="postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
SINCE = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
STOPPED = Alarm("partition_stopped", "steps 3", SINCE)


def a_health(*alarms: Alarm, why_halted: str | None = None, url: str = NOWHERE.url) -> Health:
    """Over a database that does not answer."""
    database = Database(DatabaseSettings(url=url), application="tests")
    return Health(
        database,
        outbox_rows_max=10,
        why_halted=lambda: why_halted,
        alarms=[lambda: alarms],
    )


async def probed(health: Health, path: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(health_app(health))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tests") as client:
        return await client.get(path)


async def test_while_it_drains_it_takes_nothing_and_is_still_alive() -> None:
    health = a_health()
    health.draining = True

    ready = await probed(health, "/readyz")

    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert "draining" in ready.json()["detail"]
    assert ready.headers["retry-after"]
    assert (await probed(health, "/livez")).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/startupz", "/metrics"])
async def test_only_readiness_needs_the_database(path: str) -> None:
    answer = await probed(a_health(), path)

    assert answer.status_code == 200


async def test_the_figures_name_what_is_counted() -> None:
    answer = await probed(a_health(), "/metrics")

    assert "# TYPE concert_outbox_pending gauge" in answer.text


async def test_what_nobody_knows_at_a_scrape_is_absent_and_not_what_it_was() -> None:
    OUTBOX_PENDING.tell({ALONE: 7})
    DEAD_LETTER_DEPTH.tell({("bad_json",): 7})

    shown = (await probed(a_health(), "/metrics")).text

    assert "\nconcert_outbox_pending " not in shown
    assert "\nconcert_dead_letter_depth{" not in shown
    assert 'concert_alarm{rule="database"} 1.0' in shown


async def test_alarms_are_told_whether_the_service_is_ready_or_not() -> None:
    answer = await probed(a_health(STOPPED, why_halted="signer_halted"), "/readyz")

    told = [(alarm["rule"], alarm["where"]) for alarm in answer.json()["alarms"]]
    assert answer.status_code == 503
    assert told == [("partition_stopped", "steps 3"), ("signer_halted", "")]
    assert answer.json()["alarms"][0]["since"] == "2026-03-01T08:00:00+00:00"


async def test_what_keeps_it_from_being_ready_stands_since_it_was_first_seen() -> None:
    health = a_health()

    first, again = [(await health.look()).alarms for _ in range(2)]

    assert [alarm.rule for alarm in first] == ["database"]
    assert first == again


async def test_at_scrape_each_rule_has_a_figure_and_one_that_ended_goes_back_to_nothing() -> None:
    standing = [Alarm("dead_letters", "bad_json (1)", SINCE), Alarm("dead_letters", "bad_key (2)", SINCE)]
    health = a_health()
    health._alarm_sources = [lambda: standing]

    assert 'concert_alarm{rule="dead_letters"} 2.0' in (await probed(health, "/metrics")).text
    standing.clear()
    assert 'concert_alarm{rule="dead_letters"} 0.0' in (await probed(health, "/metrics")).text


async def test_a_database_that_stands_still_does_not_hold_up_the_probes() -> None:
    with socket.socket() as frozen:  # takes connections, and never says a word
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        port = frozen.getsockname()[1]
        health = a_health(url=f"postgresql+asyncpg://nobody@127.0.0.1:{port}/nothing?ssl=disable")
        began = time.monotonic()

        found = await asyncio.gather(*(health.look() for _ in range(50)))

        assert {one.reason for one in found} == {"database"}
        assert time.monotonic() - began < 20.0  # alone the pool would wait for 30
        await health.close()
