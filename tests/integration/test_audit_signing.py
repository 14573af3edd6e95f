"""The signer, missing: its process says so, permits end after a while, and its last words tell no secrets."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.events.access import Access, Actor, EventReport
from schemas.trail.bytes import decoded
from schemas.trail.notes import Signer, named_key
from schemas.trail.permits import read_permit
from schemas.wire.topic import source_of
from services.audit.domain.drafts import Draft, EntryWriter
from services.audit.domain.keyring import Keyring
from services.audit.domain.refusals import SlowDown, TrailClosed
from services.audit.handlers import Work, ask_permit, report_events
from services.audit.sequencer import Sequencer
from services.audit.store import LogDatabase
from services.audit.wiring import wire_signer
from services.runtime.health import Readiness
from services.runtime.ids import random_bytes
from services.runtime.process import ServiceProcess, running
from services.runtime.settings import DatabaseSettings
from tests.integration.test_audit_damage import (
    signed_then_stopped,
    sql,
    sweep_signer,
)
from tests.integration.test_audit_trail import LIST, Trail, request
from tests.support.clock import StoppedClock
from tests.support.platform import CELL, Space
from tests.support.processes import start_process
from tests.support.waiting import until

HEALTH = source_of(CELL, "health")
MOST = timedelta(seconds=30)
AT = "2026-03-02T12:00:00.000Z"


@pytest.fixture
def trail(space: Space, tmp_path: Path) -> Trail:
    """A log of its own for each test."""
    return Trail(space, tmp_path, f"audit.localhost/t{secrets.token_hex(4)}/2026")


async def test_a_signer_that_halted_is_not_ready(trail: Trail, capsys: pytest.CaptureFixture[str]) -> None:
    await signed_then_stopped(trail)
    async with running("audit", trail.signer_settings(), wire_signer) as sound:
        before = (await sound.health.look()).reason
    await sql(trail, "UPDATE log_state SET due_size = 0 WHERE log = :log")

    async with running("audit", trail.signer_settings(), wire_signer) as halted:
        found = await until(lambda: halted_look(halted))
        (alarm,) = found.alarms

    assert (before, found.reason) == (None, "signer_halted")
    assert (alarm.rule, alarm.where) == ("signer_halted", "the database is behind what was signed")
    assert "the database is behind what was signed" in capsys.readouterr().out


async def halted_look(service: ServiceProcess) -> Readiness | None:
    """What a probe finds, once the service is not ready."""
    found = await service.health.look()
    return found if found.reason else None


class SlowTrail:
    """A sequencer whose rounds a test does by hand, on a clock that stands still."""

    def __init__(self, sequencer: Sequencer, work: Work, wall: StoppedClock) -> None:
        self.wall = wall
        self._sequencer = sequencer
        self._work = work

    async def look(self) -> None:
        """A tick, a round, and the tick that sees what the round did."""
        await self._sequencer.tick()
        await self._sequencer.sweep()
        await self._sequencer.tick()

    def alarms(self) -> list[tuple[str, str]]:
        """What a person must look at."""
        return [(alarm.rule, alarm.where) for alarm in self._sequencer.alarms()]

    async def permit(self) -> int:
        """Ask for the permit of a list; how large the log is that it names."""
        answer = await self._answered(ask_permit(request(LIST), HEALTH, self._work))
        return read_permit(answer.permit.body).size

    async def event(self) -> int:
        """Report something that was done; where it stands."""
        denied = Access(act="denial", actor=Actor(client="cl-1"), reason="unknown")
        report = EventReport(idem=random_bytes(16), mode="with", happened=AT, access=denied)
        (placed,) = await self._answered(report_events([report], HEALTH, self._work))
        return int(placed.index)

    def ask_all(self, caller: str) -> asyncio.Future[Any]:
        """Ask for a list of 500 rows, which becomes 501 entries."""
        rows = ({"subject": "ref_x"},) * 500
        draft = Draft(caller, random_bytes(16), bytes(32), {"kind": "intent"}, rows)
        return asyncio.ensure_future(self._sequencer.append([draft]))

    async def _answered(self, question: Coroutine[Any, Any, Any]) -> Any:
        asking = asyncio.ensure_future(question)
        while not asking.done():
            await self._sequencer.sweep()
            await asyncio.sleep(0)
        return await asking


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
async def by_hand(trail: Trail, clock: StoppedClock) -> AsyncIterator[SlowTrail]:
    """A log that leads, with its first checkpoint signed."""
    database = trail.space.database("audit")
    ledger = LogDatabase(database, trail.origin)
    keyring = Keyring(trail.origin, decoded(trail.keys["wrap"].read_text()), random_bytes)
    wall = StoppedClock()
    sequencer = Sequencer(ledger, keyring, named_key(trail.log_key), MOST, wall)
    sequencer.clock = clock
    permit = Signer.from_seed(f"{trail.origin}/permit", decoded(trail.keys["permit"].read_text()))
    parties = {"sector": frozenset({HEALTH})}
    work = Work(sequencer, ledger.open, EntryWriter(trail.origin, parties), keyring, permit, wall)
    await sequencer.sweep()
    await sweep_signer(trail, trail.folder)
    made = SlowTrail(sequencer, work, wall)
    await made.look()
    yield made
    await sequencer.resign(TrailClosed("database"))
    await database.close()


async def test_no_permits_while_a_due_size_stays_unsigned_too_long(
    trail: Trail, clock: StoppedClock, by_hand: SlowTrail
) -> None:
    sizes = [await by_hand.permit()]
    await by_hand.look()  # makes 32 due
    clock.forward(MOST)
    sizes.append(await by_hand.permit())
    unsigned = by_hand.alarms()
    clock.forward(timedelta(seconds=1))
    with pytest.raises(TrailClosed) as closed:
        await by_hand.permit()
    written = await by_hand.event()
    await sweep_signer(trail, trail.folder)
    await by_hand.look()
    sizes.append(await by_hand.permit())

    assert closed.value.reason == "unsigned"
    assert sizes == [17, 33, 49]
    assert (unsigned, by_hand.alarms()) == ([("head_unsigned", "size 32")], [])
    assert written == 33


async def test_a_clock_that_is_set_back_stops_no_checkpoint(
    trail: Trail, clock: StoppedClock, by_hand: SlowTrail
) -> None:
    sizes = []
    for back in (timedelta(), timedelta(hours=1)):
        by_hand.wall.forward(-back)
        sizes.append(await by_hand.permit())
        clock.forward(timedelta(seconds=1))
        await by_hand.look()
        await sweep_signer(trail, trail.folder)
        await by_hand.look()

    rows = await sql(trail, "SELECT max(size) AS size FROM checkpoint WHERE log = :log")
    assert (sizes, rows[0].size) == ([17, 33], 48)


async def test_whoever_has_much_waiting_is_told_to_slow_down_and_no_other(by_hand: SlowTrail) -> None:
    asking = [by_hand.ask_all(HEALTH) for _ in range(4)]
    await asyncio.sleep(0)
    too_many, other = by_hand.ask_all(HEALTH), by_hand.ask_all(source_of(CELL, "police"))
    await asyncio.wait({too_many})
    asked_meanwhile = other.done()
    await by_hand.look()
    await by_hand.look()
    again = by_hand.ask_all(HEALTH)
    await asyncio.sleep(0)
    await by_hand.look()
    answered, _ = await asyncio.wait({*asking, other, again}, timeout=10)

    assert len(answered) == 6
    assert isinstance(too_many.exception(), SlowDown)
    assert not asked_meanwhile
    assert all(one.exception() is None for one in (*asking, other, again))


async def test_the_last_words_of_the_signer_hold_no_text_of_a_driver(trail: Trail) -> None:
    nowhere = DatabaseSettings(url="postgresql+asyncpg://somebody@127.0.0.1:1/nowhere")
    lost = trail.signer_settings().model_copy(update={"database": nowhere})
    process = await start_process("audit", lost, "signer", log=asyncio.subprocess.PIPE)
    said, places = await process.communicate()

    assert process.returncode == 1
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["service_failed"]
    assert b"in check_schema" in places
    assert b"Error" not in places
