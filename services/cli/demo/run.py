"""One run from nothing to its checks."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.cli.agency_client import listening
from services.cli.demo.checks import CheckResult, run_checks
from services.cli.demo.collect import collect
from services.cli.demo.evidence import Evidence, Kill
from services.cli.demo.founding import set_up
from services.cli.demo.kills import strike
from services.cli.demo.play import Play
from services.cli.demo.stories import dealt
from services.cli.demo.trial import Trial, running_trial
from services.cli.directory import ImportReport

KILLED: Final = {"referrals": "the arbiter", "kafka": "the broker"}


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
            kill = await strike(play.trial, part, gate, gathered)
            kills.append(kill)
            phases.done(f"{name} was killed on purpose with {kill.unanswered} steps unanswered, and is back")
        await telling
        await asyncio.gather(*(client.read_worklist() for client in play.trial.clients.values()))
        await play.race_on()
    phases.done(f"{len(play.played)} referrals have ended")
    return tuple(kills)
