"""SIGKILL in the middle of work: stories rush through a gate, and the blow falls while their steps wait."""

import asyncio
import os
import signal
import time
from typing import Final

from services.cli.demo.checks_facts import UNANSWERED_AT_LEAST
from services.cli.demo.evidence import Kill
from services.cli.demo.play import Gate
from services.cli.demo.stage import Stage

STOPPED_AT: Final = 6
"""So many unanswered steps show that it is at work; it is stopped there until enough have piled up."""
RUSH_WITHIN_SECONDS: Final = 20.0
GATHERED_WITHIN_SECONDS: Final = 40.0


async def strike(stage: Stage, part: str, gate: Gate, gathered: int) -> Kill:
    """Open the gate once enough stories wait there, kill among their steps, wait until the part is back."""
    await gate.crowded(gathered, GATHERED_WITHIN_SECONDS)
    pid = stage.platform.pid(part)
    if pid is None:
        return Kill(part, 0, 0, 0.0)
    blow = _Blow(pid)
    stage.book.on_unanswered = blow
    gate.open()
    unanswered = await blow.fallen(stage)
    began = time.monotonic()
    stage.book.on_unanswered = None
    await stage.platform.died(part)
    await stage.platform.ready(part)
    return Kill(part, pid, unanswered, round(time.monotonic() - began, 1))


class _Blow:
    """Stops a busy process, and kills it once enough steps wait for an answer."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fell = asyncio.Event()
        self._unanswered = 0
        self._is_stopped = False

    def __call__(self, unanswered: int) -> None:
        """The number of unanswered steps has grown."""
        if self._fell.is_set():
            return
        if unanswered >= UNANSWERED_AT_LEAST:
            self._fall(unanswered)
        elif unanswered >= STOPPED_AT and not self._is_stopped:
            self._is_stopped = True
            os.kill(self._pid, signal.SIGSTOP)

    def _fall(self, unanswered: int) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._unanswered = unanswered
        self._fell.set()

    async def fallen(self, stage: Stage) -> int:
        """Wait for the blow; after too long it falls anyway, and the count tells that it was too early."""
        try:
            async with asyncio.timeout(RUSH_WITHIN_SECONDS):
                await self._fell.wait()
        except TimeoutError:
            self._fall(len(stage.book.unanswered))
        return self._unanswered
