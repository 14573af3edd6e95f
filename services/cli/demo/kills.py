"""SIGKILL in the middle of work: stories rush through a gate, and the blow falls while their steps wait."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from services.cli.demo.checks_facts import UNANSWERED_AT_LEAST
from services.cli.demo.evidence import Kill
from services.cli.demo.play import Gate
from services.cli.demo.trial import Trial

STOPPED_AT: Final = 6
"""So many unanswered steps show that it is at work; it is stopped there until enough have piled up."""
RUSH_WITHIN_SECONDS: Final = 20.0
GATHERED_WITHIN_SECONDS: Final = 40.0
POLL_SECONDS: Final = 0.001


async def strike(trial: Trial, part: str, gate: Gate, gathered: int) -> Kill:
    """Open the gate once enough stories wait there, kill among their steps, wait until the part is back."""
    await _grown(lambda: gate.waiting, gathered, GATHERED_WITHIN_SECONDS)
    pid = trial.platform.pid(part)
    gate.open()
    if pid is None:
        return Kill(part, 0, 0, 0.0)
    await _grown(lambda: trial.unanswered, STOPPED_AT, RUSH_WITHIN_SECONDS)
    os.kill(pid, signal.SIGSTOP)
    await _grown(lambda: trial.unanswered, UNANSWERED_AT_LEAST, RUSH_WITHIN_SECONDS)
    unanswered = trial.unanswered
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    await trial.platform.died(part)
    await trial.platform.ready(part)
    return Kill(part, pid, unanswered, round(time.monotonic() - began, 1))


async def _grown(count: Callable[[], int], enough: int, within_seconds: float) -> None:
    """Wait until a count is high enough, or the time is over: a blow that falls too early tells so itself."""
    ends = time.monotonic() + within_seconds
    while time.monotonic() < ends:
        if count() >= enough:
            return
        await asyncio.sleep(POLL_SECONDS)
