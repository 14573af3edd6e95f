"""`concert status` asks each part: what stands still, is gone or has halted is told by its rule."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.local import control
from deploy.local.databases import DATABASES
from services.cli.demo.founding import until
from services.cli.status import standing_alarms
from tests.e2e.conftest import Session
from tests.e2e.test_up_and_down import concert

FROZEN = ("health", "kafka", "postgres", "mail_sink", "referrals")


async def rules(session: Session) -> set[tuple[str, str]]:
    """What fires now, and where."""
    configuration = session.stage.installation.configuration
    state = control.read_state(configuration.run)
    assert state
    return {(alarm.rule, alarm.where) for alarm in await standing_alarms(configuration, state)}


@pytest.fixture
def _well(session: Session) -> Iterator[None]:
    """Nothing fires before, and nothing once the fault is mended."""

    async def is_well() -> bool:
        return not await rules(session)

    session.loop.call(until(is_well, "nothing fires"))
    yield
    session.loop.call(until(is_well, "nothing fires any more"))


@contextmanager
def frozen(session: Session) -> Iterator[None]:
    pids = [session.stage.platform.pid(name) for name in FROZEN]
    for pid in pids:
        os.kill(pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid or 0, signal.SIGCONT)


@pytest.mark.usefixtures("_well")
def test_parts_that_stand_still_give_no_answer_and_the_command_exits_1(session: Session) -> None:
    with frozen(session):
        told = concert("status", "--data", str(session.stage.installation.configuration.data))

    lines = told.stdout.splitlines()
    assert told.returncode == 1, told.stderr
    for name in FROZEN:
        assert any(line.startswith(f"no_answer: {name}, since 20") for line in lines), told.stdout


@pytest.mark.usefixtures("_well")
def test_a_sector_that_is_gone_is_down(session: Session) -> None:
    session.loop.call(session.stage.platform.kill("police"))
    try:
        assert session.loop.call(rules(session)) == {("part_down", "police")}
    finally:
        session.loop.call(session.stage.platform.start("police"))


async def in_trail(session: Session, sql: str) -> None:
    async with session.stage.installation.server.connection(DATABASES["audit"].name) as connection:
        await connection.execute(sql)


async def halted(session: Session) -> bool:
    return ("signer_halted", "audit_sign") in await rules(session)


@pytest.mark.usefixtures("_well")
def test_a_signer_that_finds_a_smaller_trail_than_it_signed_is_told_to_have_halted(session: Session) -> None:
    session.loop.call(in_trail(session, "CREATE TABLE due AS SELECT due_size FROM log_state"))
    session.loop.call(in_trail(session, "UPDATE log_state SET due_size = 0"))
    try:
        session.loop.call(until(lambda: halted(session), "the signer has halted"))
    finally:
        session.loop.call(in_trail(session, "UPDATE log_state SET due_size = due.due_size FROM due"))
        session.loop.call(in_trail(session, "DROP TABLE due"))
        session.loop.call(session.stage.platform.restart("audit_sign"))
