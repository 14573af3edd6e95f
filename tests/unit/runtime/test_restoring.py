"""A neighbour that lies to a service whose database was put back: it is not believed, and not for ever."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from services.runtime import restoring
from services.runtime.errors import Unavailable
from services.runtime.neighbours import ReceivedKey
from services.runtime.restoring import ANSWER_BYTES_MAX, NUMBER_MAX, received_pages

KEY = {"topic": "referrals.facts", "key": "ref_a", "sequence": 7}
ENDLESS = {"data": [KEY], "after": "referrals.facts:ref_a"}


async def read(answer: Callable[[], AsyncIterator[bytes]]) -> list[Any]:
    def say(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=answer())

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(say), base_url="https://neighbour")
    async with client:
        return [page async for page in received_pages(client, "referrals", {"referrals.facts"})]


async def told(answer: Any) -> AsyncIterator[bytes]:
    yield json.dumps(answer).encode()


async def test_what_a_neighbour_has_is_read() -> None:
    assert await read(lambda: told({"data": [KEY], "after": None})) == [[ReceivedKey.model_validate(KEY)]]


@pytest.mark.parametrize(
    "lie",
    [
        "<html>",
        [],
        {"data": [KEY]},
        {"data": [KEY | {"sequence": NUMBER_MAX + 1}], "after": None},
        {"data": [KEY | {"sequence": -1}], "after": None},
        {"data": [KEY | {"topic": "unheard.of"}], "after": None},
        {"data": [KEY | {"key": "Two Words"}], "after": None},
        {"data": [KEY] * 1001, "after": None},
        {"data": [], "after": "x" * ANSWER_BYTES_MAX},
        ENDLESS,
    ],
)
async def test_what_cannot_be_is_not_believed(lie: Any) -> None:
    with pytest.raises(Unavailable):
        await read(lambda: told(lie))


async def test_pages_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "PAGES_MAX", 3)
    pages = iter(range(9))

    with pytest.raises(Unavailable, match="no end"):
        await read(lambda: told(ENDLESS | {"after": f"x:{next(pages)}"}))

    assert next(pages) == 3


async def test_an_answer_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "ANSWER_WITHIN_SECONDS", 0.05)

    async def begins() -> AsyncIterator[bytes]:
        yield b" "
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await read(begins)
