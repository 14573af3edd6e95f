"""Reports that the trail cannot take yet hold up no newer ones."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from schemas.events.access import REPORTS_MAX
from services.runtime.alarms import Alarm
from services.runtime.errors import Unavailable
from services.sector.reports import Delivery

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

NO_VAULT: Any = None


class MemoryOutbox:
    """Reports of one kind, by their place."""

    def __init__(self, count: int) -> None:
        self.kept = {place: json.dumps({"place": place}) for place in range(1, count + 1)}
        self.refused: dict[int, str] = {}

    async def waiting(self, after: Mapping[str, int]) -> Mapping[str, Sequence[tuple[int, str]]]:
        places = [place for place in self.kept if place > after["events"]]
        return {"events": [(place, self.kept[place]) for place in places[:REPORTS_MAX]]}

    async def settle(self, answered: Sequence[int], refused: Mapping[int, str]) -> None:
        self.kept = {place: one for place, one in self.kept.items() if place not in {*answered, *refused}}
        self.refused |= refused

    async def is_full(self, rows_max: int) -> bool:
        return len(self.kept) >= rows_max

    async def alarms(self) -> Sequence[Alarm]:
        return [Alarm("report_refused", code, NOON) for code in self.refused.values()]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(reports=self)


def delivery(outbox: MemoryOutbox, is_known: Callable[[int], bool]) -> Delivery:
    """Delivery to a trail that takes the reports of known subjects alone."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked = json.loads(request.content)["events"]
        return httpx2.Response(200, json={"results": [result(one["place"]) for one in asked]})

    def result(place: int) -> Mapping[str, Any]:
        return {} if is_known(place) else {"problem": {"code": "subject_unknown"}}

    client = httpx2.AsyncClient(base_url="https://trail.example", transport=httpx2.MockTransport(answer))
    return Delivery(client, NO_VAULT, outbox.open)


async def test_a_whole_batch_that_waits_for_its_subjects_blocks_nothing_newer() -> None:
    outbox = MemoryOutbox(REPORTS_MAX + 3)
    sweep = delivery(outbox, lambda place: place > REPORTS_MAX).sweep

    assert not await sweep()
    assert not await sweep()
    assert set(outbox.kept) == set(range(1, REPORTS_MAX + 1))
    assert not outbox.refused


async def test_what_the_trail_refused_is_an_alarm_also_after_a_start_until_it_is_gone() -> None:
    outbox = MemoryOutbox(0)
    outbox.refused[7] = "not_yours"
    started = delivery(outbox, lambda place: True)

    await started.sweep()
    standing = started.alarms()
    outbox.refused.clear()
    await started.sweep()

    assert standing == [Alarm("report_refused", "not_yours", NOON)]
    assert not started.alarms()


async def test_what_waited_is_taken_once_its_subject_is_known() -> None:
    outbox = MemoryOutbox(REPORTS_MAX)
    known: set[int] = set()
    sweep = delivery(outbox, known.__contains__).sweep

    await sweep()
    known |= set(outbox.kept)
    await sweep()  # the end of the outbox: the next round begins at its head
    await sweep()

    assert not outbox.kept


@pytest.mark.parametrize("bad", [{321}, set(range(1, REPORTS_MAX + 1))], ids=["one", "all"])
async def test_a_report_that_the_trail_cannot_read_costs_itself_alone(bad: set[int]) -> None:
    """Where it can read none of them, it may be of another release: then all wait."""
    outbox, posts = MemoryOutbox(REPORTS_MAX), 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal posts
        posts += 1
        asked = [one["place"] for one in json.loads(request.content)["events"]]
        if bad & set(asked):
            return httpx2.Response(400, json={"code": "malformed"})
        return httpx2.Response(200, json={"results": [{} for _ in asked]})

    client = httpx2.AsyncClient(base_url="https://trail.example", transport=httpx2.MockTransport(answer))

    delivery = Delivery(client, NO_VAULT, outbox.open)

    if len(bad) > 1:
        with pytest.raises(Unavailable):
            await delivery.sweep()
        assert (outbox.refused, len(outbox.kept)) == ({}, REPORTS_MAX)
        return
    assert await delivery.sweep()
    assert outbox.refused == {321: "malformed"}
    assert outbox.kept == {}
    assert posts < 2 * REPORTS_MAX.bit_length() + 2
