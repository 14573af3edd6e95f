"""A run for machines, and the same for people to read."""

from collections import Counter
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from services.cli.demo.checks_facts import orders_of
from services.cli.demo.run import DemoRun

PROBLEMS_SHOWN: Final = 5


def document(run: DemoRun) -> dict[str, Any]:
    """The run for machines."""
    evidence = run.evidence
    orders = orders_of(evidence.gaps_ms, evidence.addressed)
    return {
        "holds": run.holds,
        "referrals": len(evidence.played),
        "stories": dict(Counter(each.story for each in evidence.played)),
        "steps": len(evidence.sent),
        "facts": len(evidence.received),
        "looks": len(evidence.looks),
        "entries": evidence.verdict["size"],
        "mails": len(evidence.mails),
        "kills": [asdict(kill) for kill in evidence.kills],
        "races": {
            "accepted_first": orders["accepted"],
            "withdrawn_first": orders["refused"],
            "gap_ms_max": round(max(evidence.gaps_ms.values(), default=0.0), 2),
        },
        "listed": evidence.outsiders,
        "directories": [report.as_json() | {"rows": len(report.refused)} for report in run.reports],
        "searched_bytes": evidence.searched_bytes,
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
