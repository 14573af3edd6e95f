"""Sequencer and signer with a standby each: killed or stopped, another goes on within five seconds."""

import secrets
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from schemas.events.access import PermitRequest
from tests.integration.test_audit_damage import exported, is_quiet, rows_of, verdict_on, whole
from tests.integration.test_audit_trail import LIST, Trail, ask, request
from tests.support.platform import Space
from tests.support.processes import a_process
from tests.support.waiting import until

WITHIN_SECONDS = 5.0
TRIES = 3
"""A machine that is busy with other tests may take longer once; a standby that is slow is so each time."""


class Pair:
    """The two processes of a role, of which one leads."""

    def __init__(self, trail: Trail, stack: AsyncExitStack, port: socket.socket) -> None:
        self._trail = trail
        self._stack = stack
        self._port = port

    async def sequencer(self) -> Process:
        """Start one that takes requests at the port that all share."""
        named = {"CONCERT_SOCKETS": f"internal={self._port.fileno()}"}
        settings = self._trail.settings()
        return await self._stack.enter_async_context(
            a_process("audit", settings, self.log, fds=(self._port.fileno(),), **named)
        )

    async def signer(self) -> Process:
        """Start one."""
        settings = self._trail.signer_settings()
        return await self._stack.enter_async_context(a_process("audit", settings, self.log, "signer"))

    async def started(self, count: int) -> None:
        """Wait until so many were started in all, those that have ended too."""
        await until(lambda: self.log.read_text().count("service_started") >= count)

    @property
    def log(self) -> Path:
        """What all of them say."""
        return self._trail.folder / "log"


@pytest.fixture
async def pair(space: Space, tmp_path: Path) -> AsyncIterator[tuple[Trail, Pair]]:
    trail = Trail(space, tmp_path, f"audit.localhost/t{secrets.token_hex(4)}/2026")
    async with AsyncExitStack() as stack:
        port = stack.enter_context(socket.create_server(("127.0.0.1", trail.port)))
        yield trail, Pair(trail, stack, port)


async def test_a_standby_goes_on_where_the_leader_was_stopped_or_killed_and_the_stopped_one_writes_nothing(
    pair: tuple[Trail, Pair], tmp_path: Path
) -> None:
    trail, processes = pair
    leaders = await processes.sequencer(), await processes.signer()
    asked = [request(LIST)]
    await permitted_within(trail, asked[0])
    standbys = await processes.sequencer(), await processes.signer()
    await processes.started(started := 4)

    for how in (signal.SIGSTOP, signal.SIGKILL):
        for _ in range(TRIES):
            asked.append(request(LIST))
            for one in leaders:
                one.send_signal(how)
            taken_seconds = await permitted_within(trail, asked[-1])
            stopped, signer = leaders
            if how is signal.SIGSTOP:
                for one in leaders:
                    one.send_signal(signal.SIGCONT)
                assert await stopped.wait() == 1  # it led and does no more: the supervisor starts it again
                assert signer.returncode is None
            else:
                signer = await processes.signer()
            leaders, standbys = standbys, (await processes.sequencer(), signer)
            started += 1 if how is signal.SIGSTOP else 2
            await processes.started(started)
            if taken_seconds < WITHIN_SECONDS:
                break
        assert taken_seconds < WITHIN_SECONDS, how
    await until(lambda: is_quiet(trail))
    kit = await exported(trail, tmp_path / "kit")

    assert {len(await rows_of(trail, one.idem)) for one in asked} == {1}
    assert verdict_on(kit).is_sound
    await whole(trail)


async def permitted_within(trail: Trail, asked: PermitRequest) -> float:
    """How long it takes until a caller as ours are has its permit."""
    began = time.monotonic()

    async def once(client: httpx2.AsyncClient) -> bool:
        try:
            return (await ask(client, asked)).status_code == 201
        except httpx2.TransportError:
            return False

    async with trail.client("health") as client:
        client.timeout = httpx2.Timeout(2)
        await until(lambda: once(client))
    return time.monotonic() - began
