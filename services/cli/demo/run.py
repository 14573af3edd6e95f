"""One run from nothing to its checks."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.demo.checks import Result, run_checks
from services.cli.demo.collect import Acted, collect
from services.cli.demo.evidence import Evidence, Kill
from services.cli.demo.founding import found
from services.cli.demo.kills import strike
from services.cli.demo.play import Play
from services.cli.demo.stage import Stage, listening, staged
from services.cli.demo.stories import told
from services.cli.directory import Report


@dataclass
class Times:
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
class Run:
    """What a run was, and what was found."""

    evidence: Evidence
    results: tuple[Result, ...]
    reports: list[Report]
    seconds: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(result.holds for result in self.results)


async def run_demo(folder: Path, count: int, directory: Path | None, say: Callable[[str], None]) -> Run:
    """Bring all up, play, gather the evidence, stop, judge."""
    times = Times(say)
    async with staged(folder / "installation", say) as stage, asyncio.TaskGroup() as group:
        times.done("everything is up")
        watching = group.create_task(stage.platform.wait())  # raises when the supervisor gives up
        evidence, reports = await perform(stage, folder, count, directory, times)
        watching.cancel()
    times.done("everything is stopped")
    results = run_checks(evidence)
    times.done("checked")
    return Run(evidence, results, reports, times.seconds)


async def perform(
    stage: Stage, folder: Path, count: int, directory: Path | None, times: Times
) -> tuple[Evidence, list[Report]]:
    """Play on a stage that stands, and gather the evidence."""
    reports = await found(stage, directory)
    times.done(f"{len(stage.agencies)} agencies, their protocol and desks are known everywhere")
    play = Play(stage)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(listening(tuple(stage.clients.values())))
        kills = await _play(play, count, times)
        listed = await play.try_listed()
    evidence = await collect(stage, Acted(play, kills, listed), folder / "trail")
    times.done("evidence is gathered")
    return evidence, reports


async def _play(play: Play, count: int, times: Times) -> tuple[Kill, ...]:
    stories = list(told(count))
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(play.tell(stories))
        times.say("next: the arbiter is killed on purpose, in the middle of its work")
        first = await strike(play.stage, "referrals", play.offers, count)
        times.done(f"the arbiter was killed on purpose with {first.unanswered} steps unanswered, and is back")
        times.say("next: the broker is killed on purpose, in the middle of its work")
        answering = sum(1 for story in stories if not story.waits_for)
        second = await strike(play.stage, "kafka", play.answers, answering)
        times.done(f"the broker was killed on purpose with {second.unanswered} steps unanswered, and is back")
        await telling
        await asyncio.gather(*(client.read_worklist() for client in play.stage.clients.values()))
        await play.race_on()
    times.done(f"{len(play.stage.book.played)} referrals have ended")
    return first, second
