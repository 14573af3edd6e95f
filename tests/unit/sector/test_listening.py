"""Requests that wait: woken by what is committed, counted by agency, and none holds what others need."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import Request

from services.health.profile import PROFILE
from services.runtime.admission import AgencyStanding
from services.runtime.requests import DRAINING
from services.runtime.tokens import Caller
from services.sector.api import Engine, FeedNotifier, sector_app
from services.sector.api.listening import LOOKS_MAX, POLLS_PER_AGENCY_MAX
from services.sector.domain.views import FeedEvent, thin_event
from tests.support.clock import NOON
from tests.support.waiting import until
from tests.unit.sector.test_views import offered

MANY = 600
NOTHING: Any = None


class Feed:
    """An engine that counts who looks, and tells one event once it is full."""

    def __init__(self) -> None:
        self.feeds = FeedNotifier()
        self.looking = self.looking_max = self.looks = 0
        self.tells = False
        engine = Engine(
            PROFILE, self.caller, self.open, self.open, self.show, bytes, NOTHING, NOTHING, self.feeds
        )
        self.app = sector_app(engine)
        self.draining = asyncio.Event()
        transport = httpx2.ASGITransport(self.served)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://sector.example")

    async def served(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope, "state": {DRAINING: self.draining}}, receive, send)

    def caller(self, request: Request) -> Caller:
        return Caller("p-1", "system", request.headers["authorization"], "caseworker")

    async def show(self, look: Any, load: Any) -> Any:
        raise AssertionError("a feed shows nothing of a person")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        self.looks += 1
        self.looking += 1
        self.looking_max = max(self.looking_max, self.looking)
        await asyncio.sleep(0)
        yield SimpleNamespace(views=self, register=self, profile=PROFILE)
        self.looking -= 1

    async def standings(self, agencies: set[str]) -> dict[str, AgencyStanding]:
        return dict.fromkeys(agencies, AgencyStanding(PROFILE.name, is_active=True))

    async def feed(self, agency: str, after: int, limit: int) -> list[Any] | None:
        if after > 1:
            return None
        event = thin_event(offered(), at=NOON)
        return [FeedEvent(**event.model_dump(), position=1)] if self.tells and not after else []

    async def ask(self, agency: str, wait: int, after: int = 0) -> httpx2.Response:
        path = f"/v1/events?wait={wait}&after={after}"
        return await self.client.get(path, headers={"authorization": agency})


async def test_six_hundred_waiting_requests_of_one_agency_leave_room_for_another() -> None:
    feed = Feed()
    async with asyncio.TaskGroup() as group:
        polls = [group.create_task(feed.ask("crowd", 20)) for _ in range(MANY)]
        await until(lambda: sum(poll.done() for poll in polls) == MANY - POLLS_PER_AGENCY_MAX)
        other = await feed.ask("other", 0)
        looks = feed.looks
        feed.tells = True
        feed.feeds.notify(["crowd"])

    answers = [(poll.result().status_code, poll.result().json().get("code")) for poll in polls]
    assert answers.count((200, None)) == POLLS_PER_AGENCY_MAX
    assert answers.count((429, "too_many_waiting")) == MANY - POLLS_PER_AGENCY_MAX
    assert (other.status_code, looks) == (200, POLLS_PER_AGENCY_MAX + 1)
    assert feed.looking_max <= LOOKS_MAX
    assert (await feed.ask("crowd", 1)).status_code == 200  # every place is free again


async def test_a_request_that_waits_is_answered_when_the_process_stops() -> None:
    feed = Feed()
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        poll = group.create_task(feed.ask("crowd", 20, after=1))
        await until(lambda: feed.looks)
        feed.draining.set()

    assert (poll.result().status_code, poll.result().json()) == (200, {"data": [], "next": 1})


@pytest.mark.parametrize("after", [2, 1_001, 2**62])
async def test_a_position_that_the_feed_has_not_reached_is_refused(after: int) -> None:
    answer = await Feed().ask("crowd", 0, after)

    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_unreadable")


async def test_a_client_that_has_gone_waits_no_longer() -> None:
    feed = Feed()
    messages = iter([{"type": "http.request", "body": b""}, *[{"type": "http.disconnect"}] * 9])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http", "method": "GET", "path": "/v1/events", "query_string": b"wait=25",
        "headers": [(b"authorization", b"crowd")],
    }  # fmt: skip
    async with asyncio.timeout(15):
        await feed.app(scope, receive, send)
