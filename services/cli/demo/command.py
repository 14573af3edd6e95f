"""`concert demo`: one run, and what was found, for machines and for people to read."""

import asyncio
import signal
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from deploy.local.places import temporary_directory
from services.cli.demo.checks import orders_of
from services.cli.demo.run import DemoRun, run_demo
from services.cli.talk import FAILED, AsJson, say, show

app = typer.Typer()

REFERRALS_LEAST: Final = 24
"""Fewer cannot leave twenty steps unanswered twice."""
PROBLEMS_SHOWN: Final = 5


@app.command("demo")
def demo(
    referrals: Annotated[
        int, typer.Option(min=REFERRALS_LEAST, help="How many to play; races add theirs.")
    ] = 200,
    directory: Annotated[
        Path | None,
        typer.Option(exists=True, help="A real service directory; its organisations are listed only."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert demo`, `concert demo --json`, `concert demo --directory PATH`.

    In a temporary directory: starts everything, lets twelve fictional agencies make and answer referrals over
    HTTP, kills the arbiter and the broker in the middle, then checks from outside. Exit 0 only if all holds.
    """

    async def run(folder: Path) -> DemoRun:
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run_demo(folder, referrals, directory, say)

    with temporary_directory("concert-demo-") as folder, Console(stderr=True).status("at work"):
        try:
            found = asyncio.run(run(folder))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # SIGTERM; everything was stopped in order
    if as_json:
        show(document(found), (), as_json=True)
    else:
        show_run(found, Console(highlight=False))
    if not found.holds:
        say(f"Red: {', '.join(result.name for result in found.results if not result.holds)}.")
        raise typer.Exit(FAILED)


def document(run: DemoRun) -> dict[str, Any]:
    """The run for machines."""
    evidence = run.evidence
    orders = orders_of(evidence["gaps_ms"], evidence["addressed"])
    return {
        "holds": run.holds,
        "referrals": len(evidence["played"]),
        "stories": dict(Counter(each.story for each in evidence["played"])),
        "steps": len(evidence["sent"]),
        "facts": len(evidence["received"]),
        "looks": len(evidence["looks"]),
        "entries": evidence["verdict"]["size"],
        "mails": len(evidence["mails"]),
        "kills": [asdict(kill) for kill in evidence["kills"]],
        "races": {
            "accepted_first": orders["accepted"],
            "withdrawn_first": orders["refused"],
            "gap_ms_max": round(max(evidence["gaps_ms"].values(), default=0.0), 2),
        },
        "listed": evidence["outsiders"],
        "directories": [report.as_json() | {"rows": len(report.refused)} for report in run.reports],
        "searched_bytes": evidence["searched_bytes"],
        "checks": [
            {"name": result.name, "holds": result.holds, "problems": list(result.problems)}
            for result in run.results
        ],
        "seconds": run.seconds,
    }


def show_run(run: DemoRun, console: Console) -> None:
    """The run for people: what the document tells, and every check with what it promises."""
    told = document(run)
    del told["checks"]
    for name, found in told.items():
        if isinstance(found, list):
            console.print(_table(name, found))
        elif isinstance(found, dict):
            parts = (f"{part.replace('_', ' ')}: {value}" for part, value in found.items())
            console.print(f"{name.replace('_', ' ')} – {'; '.join(parts)}")
        else:
            console.print(f"{name}: {found}")
    console.print("[bold]Checks from outside[/bold]")
    for result in run.results:
        mark = "[green]✓[/green]" if result.holds else "[red]✗[/red]"
        console.print(f"{mark} {result.name}: {result.promise}")
        for problem in result.problems[:PROBLEMS_SHOWN]:
            console.print(f"    {problem}", style="red", markup=False)
        if len(result.problems) > PROBLEMS_SHOWN:
            console.print(f"    and {len(result.problems) - PROBLEMS_SHOWN} more", style="red")
    console.print(f"{sum(run.seconds.values()):.1f} s in all")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*(name.replace("_", " ") for row in rows[:1] for name in row), title=title)
    for row in rows:
        table.add_row(*(", ".join(each) if isinstance(each, tuple) else str(each) for each in row.values()))
    return table
