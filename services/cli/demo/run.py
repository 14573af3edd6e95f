"""One run from nothing to its checks; arbiter and broker are killed in the middle of their work."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.cli.agency_client import listening
from services.cli.demo.checks import KILLED, UNANSWERED_AT_LEAST, CheckResult, run_checks
from services.cli.demo.collect import collect
from services.cli.demo.evidence import Evidence, Kill
from services.cli.demo.play import Gate, Play
from services.cli.demo.stories import dealt
from services.cli.demo.trial import Trial, running_trial, set_up
from services.cli.directory import ImportReport

STOPPED_AT: Final = 6
"""So many unanswered steps show that it is at work; it is stopped there until enough have piled up."""
RUSH_WITHIN_SECONDS: Final = 20.0
GATHERED_WITHIN_SECONDS: Final = 40.0
POLL_SECONDS: Final = 0.001


@dataclass
class Phases:
    """How long each part of the run took."""

    say: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def done(self, what: str) -> None:
        """A part has ended."""
        now = time.monotonic()
        self.seconds[what] = round(now - self._last, 1)
        self._last = now
        self.say(f"{what} ({self.seconds[what]} s)")


@dataclass(frozen=True, slots=True)
class DemoRun:
    """What a run was, and what was found."""

    evidence: Evidence
    results: tuple[CheckResult, ...]
    reports: list[ImportReport]
    seconds: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(result.holds for result in self.results)


async def run_demo(folder: Path, count: int, directory: Path | None, say: Callable[[str], None]) -> DemoRun:
    """Bring all up, play, gather the evidence, stop, judge."""
    phases = Phases(say)
    async with running_trial(folder / "installation", say) as trial, asyncio.TaskGroup() as group:
        phases.done("everything is up")
        watching = group.create_task(trial.platform.wait())  # raises when the supervisor gives up
        evidence, reports = await perform(trial, folder, count, directory, phases)
        watching.cancel()
    phases.done("everything is stopped")
    results = run_checks(evidence)
    phases.done("checked")
    return DemoRun(evidence, results, reports, phases.seconds)


async def perform(
    trial: Trial, folder: Path, count: int, directory: Path | None, phases: Phases
) -> tuple[Evidence, list[ImportReport]]:
    """Play on a platform that stands, and gather the evidence."""
    reports = await set_up(trial, directory)
    phases.done(f"{len(trial.agencies)} agencies, their protocol and desks are known everywhere")
    play = Play(trial)
    async with listening(trial.clients.values()):
        kills = await _play(play, count, phases)
        await play.try_outsiders()
    evidence = await collect(play, kills, folder / "trail")
    phases.done("evidence is gathered")
    return evidence, reports


async def _play(play: Play, count: int, phases: Phases) -> tuple[Kill, ...]:
    stories = list(dealt(count))
    answering = sum(1 for story in stories if not story.waits_for)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(play.play_all(stories))
        kills = []
        for part, gate, gathered in (("referrals", play.offers, count), ("kafka", play.answers, answering)):
            name = KILLED[part]
            phases.say(f"next: {name} is killed on purpose, in the middle of its work")
            kill = await _strike(play.trial, part, gate, gathered)
            kills.append(kill)
            phases.done(f"{name} was killed on purpose with {kill.unanswered} steps unanswered, and is back")
        await telling
        await asyncio.gather(*(client.read_worklist() for client in play.trial.clients.values()))
        await play.race_on()
    phases.done(f"{len(play.played)} referrals have ended")
    return tuple(kills)


async def _strike(trial: Trial, part: str, gate: Gate, gathered: int) -> Kill:
    """Open the gate once enough stories wait there, kill among their steps, wait until the part is back."""
    await _grown(lambda: gate.waiting, gathered, GATHERED_WITHIN_SECONDS)
    pid = trial.platform.pid(part)
    gate.set()
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
