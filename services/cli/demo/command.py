"""`concert demo`: a run from nothing to its checks, and what was found, for machines and for people."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from deploy.local.places import cache_directory, temporary_directory
from services.cli.demo.checks import (
    KILLED,
    UNANSWERED_AT_LEAST,
    CheckResult,
    Evidence,
    Kill,
    orders_of,
    parts_of,
    run_checks,
)
from services.cli.demo.collect import collect
from services.cli.demo.learning import learn
from services.cli.demo.learning_checks import lines_of_learning
from services.cli.demo.partner_checks import lines_of_partners
from services.cli.demo.play import Gate, Play, dealt
from services.cli.demo.story import lines_of, play_one
from services.cli.demo.trial import Trial, listening, running_trial, set_up
from services.cli.demo.versions import try_next_version
from services.cli.directory import ImportReport
from services.cli.scale import Scale, scale_of
from services.cli.talk import FAILED, AsJson, say, show

app = typer.Typer()

REFERRALS_LEAST: Final = 24
"""Fewer cannot leave twenty steps unanswered twice."""
TOLD: Final = {
    "partners": "Partners decide",
    "story": "One survivor, from start to end",
    "learning": "Partners learn",
}
"""What is told in lines, each under its title."""
REPORT: Final = "demo/partnership.html"
PROBLEMS_SHOWN: Final = 5
STOPPED_AT: Final = 6
"""So many unanswered steps show that it is at work; it is stopped there until enough have piled up."""
RUSH_WITHIN_SECONDS: Final = 20.0
GATHERED_WITHIN_SECONDS: Final = 40.0
POLL_SECONDS: Final = 0.001


@app.command("demo")
def demo(
    referrals: Annotated[
        int, typer.Option(min=REFERRALS_LEAST, help="How many to play; races add theirs.")
    ] = 200,
    directory: Annotated[
        Path | None,
        typer.Option(exists=True, help="A real service directory; its organisations are listed only."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where the partnership's page goes.")
    ] = None,
    scale: Scale = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert demo`, `concert demo --json`, `concert demo --directory PATH`.

    In a temporary directory: starts everything, lets partners adopt a protocol and thirteen agencies make and
    answer referrals over HTTP, kills the arbiter and the broker in the middle, then checks from outside.
    Exit 0 only if all holds.
    """

    out = (report or cache_directory() / REPORT).absolute()

    async def run(folder: Path) -> tuple[dict[str, Any], Sequence[CheckResult]]:
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run_demo(folder, referrals, directory, out, scale_of(scale or ()))

    with temporary_directory("concert-demo-") as folder, Console(stderr=True).status("at work"):
        try:
            told, results = asyncio.run(run(folder))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # SIGTERM; everything was stopped in order
    if as_json:
        show(told, (), as_json=True)
    else:
        show_run(told, results, Console(highlight=False))
    if red := [result.name for result in results if not result.holds]:
        say(f"Red: {', '.join(red)}.")
        raise typer.Exit(FAILED)


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


async def run_demo(
    folder: Path, count: int, directory: Path | None, out: Path, scale: Mapping[str, int]
) -> tuple[dict[str, Any], Sequence[CheckResult]]:
    """Bring all up, play, gather the evidence, stop, judge: the run for machines, and what the checks say."""
    phases = Phases(say)
    everything = running_trial(folder / "installation", say, scale=scale)
    async with everything as trial, asyncio.TaskGroup() as group:
        phases.done("everything is up")
        watching = group.create_task(trial.platform.wait())  # raises when the supervisor gives up
        evidence, reports, story = await perform(trial, folder, count, directory, out, phases)
        watching.cancel()
    phases.done("everything is stopped")
    results = run_checks(evidence)
    phases.done("checked")
    partners = lines_of_partners(evidence["told_decisions"], evidence["undecided"], evidence["half_signed"])
    learning = lines_of_learning(**{part: evidence[part] for part in parts_of(lines_of_learning)})
    told = (
        {"partners": partners, "story": story, "learning": learning}
        | document(evidence, results, reports)
        | {"report": str(out), "seconds": phases.seconds}
    )
    return told, results


async def perform(
    trial: Trial, folder: Path, count: int, directory: Path | None, out: Path, phases: Phases
) -> tuple[Evidence, list[ImportReport], list[str]]:
    """Play on a platform that stands, write the report, gather the evidence, and tell one case of it."""
    reports = await set_up(trial, directory)
    phases.done(
        f"partners adopted a protocol, {len(trial.agencies)} agencies and their desks are known everywhere"
    )
    play = Play(trial)
    play.undecided, play.half_signed = await try_next_version(trial)
    phases.done("its next version failed without civil society, and with one signature")
    async with listening(trial.clients.values()):
        kills = await _play(play, count, phases)
        await play.try_outsiders()
        told = await play_one(play)
        phases.done("one case was played, to be told")
        play.learned = await learn(play, out)
    phases.done("partners learned, and their protocol with them")
    evidence = await collect(play, kills, folder / "trail")
    phases.done("evidence is gathered")
    return evidence, reports, lines_of(told, evidence["entries"])


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


def document(
    evidence: Evidence, results: Sequence[CheckResult], reports: Sequence[ImportReport]
) -> dict[str, Any]:
    """A run for machines."""
    orders = orders_of(evidence["gaps_ms"], evidence["addressed"])
    return {
        "holds": all(result.holds for result in results),
        "referrals": len(evidence["played"]),
        "stories": dict(Counter(each.story for each in evidence["played"])),
        "steps": len(evidence["sent"]),
        "facts": len(evidence["received"]),
        "looks": len(evidence["looks"]),
        "pulls": dict(Counter(f"{pull.moment}: {pull.code or 'opened'}" for pull in evidence["pulls"])),
        "entries": evidence["verdict"]["size"],
        "mails": len(evidence["mails"]),
        "kills": [asdict(kill) for kill in evidence["kills"]],
        "races": {
            "accepted_first": orders["accepted"],
            "withdrawn_first": orders["refused"],
            "gap_ms_max": round(max(evidence["gaps_ms"].values(), default=0.0), 2),
        },
        "acts_of_partners": len(evidence["kept_acts"]),
        "listed": evidence["outsiders"],
        "directories": [report.as_json() | {"rows": len(report.refused)} for report in reports],
        "searched_bytes": evidence["searched_bytes"],
        "checks": [asdict(result) | {"holds": result.holds} for result in results],
    }


def show_run(told: Mapping[str, Any], results: Sequence[CheckResult], console: Console) -> None:
    """A run for people: what the document tells, and every check with what it promises."""
    for name, title in TOLD.items():
        console.print(f"[bold]{title}[/bold]")
        for line in told[name]:
            console.print(f"  {line}", markup=False)
    for name, found in told.items():
        if name in ("checks", *TOLD):
            continue
        if isinstance(found, list):
            console.print(_table(name, found))
        elif isinstance(found, dict):
            parts = (f"{part.replace('_', ' ')}: {value}" for part, value in found.items())
            console.print(f"{name.replace('_', ' ')} – {'; '.join(parts)}")
        else:
            console.print(f"{name}: {found}")
    console.print("[bold]Checks from outside[/bold]")
    for result in results:
        mark = "[green]✓[/green]" if result.holds else "[red]✗[/red]"
        console.print(f"{mark} {result.name}: {result.promise}")
        for problem in result.problems[:PROBLEMS_SHOWN]:
            console.print(f"    {problem}", style="red", markup=False)
        if len(result.problems) > PROBLEMS_SHOWN:
            console.print(f"    and {len(result.problems) - PROBLEMS_SHOWN} more", style="red")
    console.print(f"{sum(told['seconds'].values()):.1f} s in all")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*(name.replace("_", " ") for row in rows[:1] for name in row), title=title)
    for row in rows:
        table.add_row(*(", ".join(each) if isinstance(each, tuple) else str(each) for each in row.values()))
    return table
