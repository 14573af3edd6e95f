"""Operations sees a reader stop and says why; whoever is silent or lies costs its own rows."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import SERVICES
from schemas.wire.envelope import ReadEvent
from services.operations.domain.streams import StreamStanding
from services.operations.sampler import Sampler
from services.operations.settings import Settings
from services.operations.wiring import sampler_of
from services.runtime.clock import TEST_CLOCK, SteadyClock
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.peers import ANSWER_BYTES_MAX, internal_client
from services.runtime.process import Parts, running
from services.runtime.service_report import ServiceReport
from services.runtime.settings import PortSettings, RuntimeSettings
from services.runtime.subscription import Subscription
from tests.support.kafka import send_raw
from tests.support.platform import CELL, Space
from tests.support.poison import HEALTH_STEPS, a_good_record
from tests.support.ports import free_port
from tests.support.waiting import until

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def take(events: Sequence[ReadEvent[Any]], _work: Any) -> None:
    """What comes is no matter here."""


def wire(_runtime: Any, _settings: Any) -> Parts:
    return Parts(subscriptions=(Subscription((HEALTH_STEPS,), take),))


@pytest.fixture
def ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves every clock of this process ahead of the machine's."""
    file = tmp_path / "ahead"
    file.write_text("0")
    monkeypatch.setenv(TEST_CLOCK, str(file))
    return lambda seconds: void(file.write_text(str(seconds)))


def void(_: object) -> None:
    return None


@asynccontextmanager
async def a_sampler(space: Space, addresses: dict[str, str]) -> AsyncIterator[Sampler]:
    space.make_topics()
    database = space.database("operations")
    settings = space.settings(Settings, "operations", services=addresses, receipt_key_file=Path("unused"))
    sampler = sampler_of(
        Identity("operations", CELL, namespace=space.namespace), database, settings, SteadyClock()
    )
    try:
        yield sampler
    finally:
        await sampler.close()
        await database.close()


@asynccontextmanager
async def a_stranger(space: Space, service: str, answering: Answering) -> AsyncIterator[str]:
    """Listens with a service's certificate and answers as it likes; gives the address."""
    tls = space.tls_settings(service)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate_file, tls.key_file)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answering(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        server.close()


def seen(sampler: Sampler, service: str) -> StreamStanding:
    """How a service does on the steps of health, or on its own first topic."""
    rows = [one for one in sampler.streams.groups if one.service == service]
    return next((one for one in rows if one.topic.endswith("sector.health.steps.v1")), rows[0])


async def send(space: Space, count: int) -> None:
    records = [a_good_record(new_id("referral")) for _ in range(count)]
    await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), records)


async def is_now(sampler: Sampler, verdict: str, rule: str, messages: int = 0) -> bool:
    await sampler.sweep()
    one = seen(sampler, "referrals")
    return (one.verdict, one.rule, one.lag_messages) == (verdict, rule, messages)


async def test_harm_31_a_reader_that_stops_turns_red_and_says_why(
    space: Space, ahead: Callable[[float], None]
) -> None:
    port = free_port()
    address = f"https://127.0.0.1:{port}"
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    async with AsyncExitStack() as stack:
        sampler = await stack.enter_async_context(a_sampler(space, {"referrals": address}))
        reader = AsyncExitStack()
        process = await reader.enter_async_context(running("referrals", settings, wire))
        await send(space, 20)
        await until(partial(is_now, sampler, "ok", "reads"))
        assert not [*sampler.alarms()]

        async with internal_client(space.tls_settings("operator"), "referrals", base_url=address) as command:
            refused = await command.get("/v1/operations")
        assert (refused.status_code, refused.json()["code"]) == (403, "operations_only")

        assert process.consumer
        process.consumer.stop()  # its loop ends while the process lives on and answers
        await send(space, 5)
        await sampler.sweep()
        ahead(9.0)
        await until(partial(is_now, sampler, "stalled", "reader_stands", 5))
        behind = seen(sampler, "referrals")
        assert "brokers and database" in behind.words
        assert behind.lag_seconds is not None
        assert behind.lag_seconds >= 8, "from when its log was seen so long, whatever the records' times say"
        assert not [*sampler.alarms()], "one look may have met a restart"
        ahead(30.0)
        await sampler.sweep()
        [alarm] = [one for one in sampler.alarms() if "health.steps" in one.where]
        assert alarm.rule == "group_stalled"

        await reader.aclose()
        await until(partial(is_now, sampler, "stalled", "silent", 5))  # what it said last still counts

    async with a_sampler(space, {"referrals": address}) as later:  # operations began anew, all is kept
        await later.sweep()
        kept = seen(later, "referrals")
        assert (kept.verdict, kept.rule, kept.lag_messages) == ("stalled", "silent", 5)
        assert max(lag or 0 for _, lag in kept.history) >= 8


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[")
    for _ in range(100 * ANSWER_BYTES_MAX // 65_536):
        writer.write(b"[" * 65_536)
        await writer.drain()


async def other_fields(writer: asyncio.StreamWriter, report: dict[str, Any]) -> None:
    content = json.dumps(report | {"value": "what a person told"}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content))
    await writer.drain()


async def never(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def another_name(writer: asyncio.StreamWriter, report: dict[str, Any]) -> None:
    content = json.dumps(report).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content))
    await writer.drain()


async def test_whoever_is_silent_or_lies_costs_its_own_rows_alone(space: Space) -> None:
    port = free_port()
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running("referrals", settings, wire))
        address = f"https://127.0.0.1:{port}"
        async with internal_client(
            space.tls_settings("operations"), "referrals", base_url=address
        ) as operations:
            told = (await operations.get("/v1/operations")).raise_for_status().json()
        assert told.keys() == ServiceReport.model_fields.keys()
        assert told["certificate_ends_at"]
        strangers: dict[str, Answering] = {
            "police": endless,
            "health": partial(other_fields, report=told | {"service": "health", "process": "health"}),
            "education": never,
            "governance": partial(another_name, report=told),
        }
        addresses = {
            name: await stack.enter_async_context(a_stranger(space, name, answering))
            for name, answering in strangers.items()
        }
        sampler = await stack.enter_async_context(a_sampler(space, {"referrals": address, **addresses}))
        await until(partial(is_now, sampler, "ok", "reads"))

        assert {name: seen(sampler, name).rule for name in strangers} == {
            "police": "unsound_answer",
            "health": "unsound_answer",
            "education": "silent",
            "governance": "unsound_answer",
        }
        assert {one.where for one in sampler.alarms() if one.rule == "answer_unsound"} == {
            "police",
            "health",
            "governance",
        }
        shown = {one.name: one.state for one in sampler.parts.parts}
        assert shown == {
            "referrals": "answers", "police": "unsound", "health": "unsound", "education": "silent",
            "governance": "unsound",
        }  # fmt: skip


async def view_seen(sampler: Sampler) -> StreamStanding | None:
    """A view's row, once the brokers know of groups: at first they have none."""
    await sampler.sweep()
    one = seen(sampler, "referrals_views")
    return None if one.members is None else one


async def test_every_stream_of_the_table_has_a_row_and_views_are_judged_by_brokers_alone(
    space: Space,
) -> None:
    async with a_sampler(space, {}) as sampler:
        view = await until(partial(view_seen, sampler))

        rows = {(one.service, one.topic) for one in sampler.streams.groups}
        assert {service for service, _ in rows} <= {*SERVICES, "referrals_views"}
        assert (view.verdict, view.rule) == ("stalled", "nobody_reads")
        assert sampler.streams.as_of
        assert timedelta() <= SteadyClock().now() - sampler.streams.as_of < timedelta(minutes=1)
