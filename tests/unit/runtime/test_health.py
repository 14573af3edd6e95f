"""Alive means that the loop turns; whether the service is ready is tried with a real database elsewhere."""

import time

import httpx2
import pytest

from services.runtime.database import Database
from services.runtime.health import STALE_SECONDS, Health, health_app
from services.runtime.settings import DatabaseSettings

NOWHERE = DatabaseSettings(url="postgresql+asyncpg://nobody@127.0.0.1:1/nothing")


def a_health() -> Health:
    """Over a database that no test here asks anything."""
    database = Database.connect(NOWHERE, application="tests")
    return Health(database, has_outbox=True, outbox_rows_max=10)


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


async def test_a_loop_that_stands_still_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    health = a_health()
    now = time.monotonic()
    monkeypatch.setattr("services.runtime.health.time.monotonic", lambda: now + STALE_SECONDS + 1)

    assert (await probed(health, "/livez")).status_code == 503
    health.beat()
    assert (await probed(health, "/livez")).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/startupz", "/metrics"])
async def test_only_readiness_asks_the_database(path: str) -> None:
    answer = await probed(a_health(), path)

    assert answer.status_code == 200


async def test_the_figures_name_what_is_counted() -> None:
    answer = await probed(a_health(), "/metrics")

    assert "concert_outbox_pending" in answer.text
