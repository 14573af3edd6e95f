"""A service that lies to operations costs its own rows, fills nothing, and never holds up another's."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import httpx2
import pytest

from services.operations import doors
from services.operations.acts_api import READERS
from services.operations.console.source import InstallationSource
from services.operations.domain import refusals
from services.operations.domain.verdicts import StreamSight
from services.operations.doors import ServiceDoors
from services.operations.plans import Plans
from services.operations.sampler import PROCESSES_MAX, Sampler
from services.operations.sights import LAG_MAX, GroupSight, PartitionSight
from services.operations.store.samples import SampleStore
from services.runtime.brokers_sight import FAILURES, BrokersSight
from services.runtime.clock import SteadyClock
from services.runtime.errors import Refused, Unavailable
from services.runtime.peers import ANSWER_BYTES_MAX
from tests.support.clock import NOON

ROW = {"topic": "concert.sector.health.steps.v1", "code": "handler", "type": None, "count": 7,
       "since": "2026-11-27T12:00:00Z", "oldest": "dl_a"}  # fmt: skip
GOOD = json.dumps({"data": [ROW]})
DEEP = "[" * 50_000


def saying(content: Any, status: int = 200) -> httpx2.AsyncClient:
    """A service that answers so."""

    def answer(_request: httpx2.Request) -> httpx2.Response:
        told = content() if callable(content) else content
        return httpx2.Response(status, content=whole(told) if isinstance(told, str | bytes) else told)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://service")


async def whole(content: str | bytes) -> AsyncIterator[bytes]:
    yield content.encode() if isinstance(content, str) else content


async def endless() -> AsyncIterator[bytes]:
    for _ in range(10):
        yield b" " * ANSWER_BYTES_MAX
    raise AssertionError("read on")


async def dripping() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(0)


LIES: dict[str, tuple[Any, int]] = {
    "no JSON": (b"\xff<html>", 200),
    "another form": ("[]", 200),
    "no rows": ('{"data": [1]}', 200),
    "deep": (DEEP, 200),
    "no number": ('{"data": [{"count": NaN}]}', 200),
    "endless": (endless, 200),
    "dripping": (dripping, 200),
    "led elsewhere": ("", 302),
    "a refusal of no words": ("[1]", 400),
    "a refusal of no code": ('{"code": "Amina\\u0000", "detail": "x"}', 404),
    "a refusal without end": (json.dumps({"code": "a" * 70, "detail": "b" * 9_000}), 409),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_list_that_lies_is_a_service_that_says_nothing(
    lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(doors, "DOOR_SECONDS", 0.2)
    asked = ServiceDoors({"police": saying(*LIES[lie]), "health": saying(GOOD)})

    rows, silent = await asked.read_all(["police", "health"], "/v1/dead-letters")
    assert ([row["service"] for row in rows], silent) == (["health"], ["police"])
    with pytest.raises(Unavailable):
        await asked.rehearse("police", "redrive", {})
    with pytest.raises(Unavailable):
        await asked.order("police", "redrive", {}, {}, 1)


def source_over(told: Mapping[str, httpx2.AsyncClient]) -> InstallationSource:
    """The pages' source where only letters are looked at."""
    nothing: Any = dict
    return InstallationSource(nothing, nothing, cast(Plans, None), ServiceDoors(told), SteadyClock())


@pytest.mark.parametrize(
    "row",
    [
        {**ROW, "since": "0001-01-01T00:00:00+14:00"},
        {**ROW, "since": "2026-11-27T12:00:00"},
        {**ROW, "count": 10**400},
        {**ROW, "count": -1},
        {"topic": "x"},
    ],
    ids=["no moment", "no offset", "huge", "less than none", "half"],
)
async def test_a_row_that_cannot_be_is_not_shown_and_hides_no_other_service(row: Mapping[str, Any]) -> None:
    told = {"police": saying(json.dumps({"data": [row]})), "health": saying(GOOD)}
    told = {name: told.get(name, saying('{"data": []}')) for name in READERS}
    source = source_over(told)

    shown = await source.letters(NOON)

    assert ([one.service for one in shown.letters], shown.silent) == (["health"], ("police",))


async def test_however_many_look_every_reader_counts_its_letters_once() -> None:
    asked: list[int] = []

    def counted() -> str:
        asked.append(1)
        return GOOD

    told = {name: saying(counted if name == "health" else '{"data": []}') for name in READERS}
    source = source_over(told)

    shown = await asyncio.gather(*(source.letters(NOON) for _ in range(50)))

    assert {len(one.letters) for one in shown} == {1}
    assert len(asked) == 1


async def test_a_row_stands_under_the_service_that_told_it() -> None:
    lying = ServiceDoors({"police": saying(json.dumps({"data": [{**ROW, "service": "health"}]}))})

    rows, _ = await lying.read_all(["police"], "/v1/dead-letters")

    assert [row["service"] for row in rows] == ["police"]


@pytest.mark.parametrize(
    ("act", "found"),
    [
        ("redrive", {"count": 1, "figures": {}, "scope": {"ids": ["dl_a", "dl_b"]}}),
        ("redrive", {"count": 1, "figures": {}, "scope": {}}),
        ("redrive", {"count": 9_000, "figures": {}, "scope": {"ids": ["dl_a"] * 9_000}}),
        ("resume", {"count": 1, "figures": {}, "scope": {"topic": "a", "partition": 0, "who": "Amina"}}),
    ],
)
async def test_a_dry_run_that_lies_makes_no_plan(act: str, found: Mapping[str, Any]) -> None:
    with pytest.raises(Unavailable):
        await ServiceDoors({"police": saying(json.dumps(found))}).rehearse("police", act, {})


async def test_what_a_service_refuses_is_refused_on_by_its_code() -> None:
    document = {"code": "nothing_waits", "detail": "nothing waits", "title": "…"}
    asked = ServiceDoors({"police": saying(json.dumps(document), 404)})

    with pytest.raises(Refused) as refused:
        await asked.rehearse("police", "redrive", {})
    assert (refused.value.code, refused.value.status) == ("nothing_waits", 404)
    with pytest.raises(refusals.NotOfService):
        await asked.rehearse("nobody", "redrive", {})


class StoreOfNothing:
    """Keeps nothing."""

    def __init__(self) -> None:
        self.kept: set[str] = set()

    async def history(self, _since: object) -> Sequence[Any]:
        return ()

    async def first_beyond(self, _places: object) -> Mapping[Any, Any]:
        return {}

    async def keep(self, _standings: object, _at: object) -> None:
        return None

    async def keep_answer(self, report: Any, _at: object) -> None:
        self.kept.add(report.process)

    async def answers(self) -> Sequence[Any]:
        return ()


def report(**changed: Any) -> bytes:
    empty: dict[str, Any] = {
        "positions": [],
        "log_ends": [],
        "outbox": None,
        "dead_letters": [],
        "sweeps": [],
        "alarms": [],
    }
    told = {
        "service": "police", "process": "police", "version": "1", "started_at": "2026-11-27T12:00:00Z",
        "certificate_ends_at": None, "last_backup_at": None, "figures": {}, **empty, **changed,
    }  # fmt: skip
    return json.dumps(told).encode()


def sampler_over(store: StoreOfNothing, **services: httpx2.AsyncClient) -> Sampler:
    @asynccontextmanager
    async def opened() -> AsyncIterator[SampleStore]:
        yield cast(SampleStore, store)

    def look() -> BrokersSight:
        raise FAILURES[0]("away")

    return Sampler(services, (), {}, look, opened, SteadyClock())


@pytest.mark.parametrize(
    "moment", ["2026-11-27T12:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"]
)
@pytest.mark.parametrize("field", ["started_at", "certificate_ends_at", "last_backup_at"])
async def test_a_moment_that_nobody_can_reckon_with_is_no_sound_answer(field: str, moment: str) -> None:
    lying, well = saying(report(**{field: moment})), saying(report(service="health", process="health"))
    sampler = sampler_over(StoreOfNothing(), police=lying, health=well)

    await sampler.sweep()

    assert {one.name: one.state for one in sampler.parts.parts} == {"police": "unsound", "health": "answers"}


async def test_a_service_that_invents_processes_fills_nothing() -> None:
    store, names = StoreOfNothing(), iter(range(2, 1_000))
    sampler = sampler_over(store, police=saying(lambda: report(process=f"police-{next(names)}")))

    for _ in range(PROCESSES_MAX + 5):
        await sampler.sweep()

    assert len(store.kept) == PROCESSES_MAX
    assert {one.state for one in sampler.parts.parts} == {"unsound"}


def test_a_lag_is_never_more_than_a_column_holds() -> None:
    partitions = [PartitionSight(("t", part, uuid4(), 0), LAG_MAX, 0.0) for part in range(3)]

    assert GroupSight(StreamSight(True), partitions).with_lag({}).lag_messages == LAG_MAX
