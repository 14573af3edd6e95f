"""A run for machines, and the same for people to read."""

from collections import Counter
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from services.cli.demo.checks_facts import orders_of
from services.cli.demo.run import DemoRun
from services.cli.demo.search import FORMS

PROBLEMS_SHOWN: Final = 5


def document(run: DemoRun) -> dict[str, Any]:
    """The run for machines."""
    evidence = run.evidence
    orders = orders_of(evidence.races, evidence.addressed)
    return {
        "holds": run.holds,
        "referrals": len(evidence.played),
        "stories": Counter(each.story for each in evidence.played),
        "steps": len(evidence.sent),
        "facts": len(evidence.received),
        "looks": len(evidence.looks),
        "entries": evidence.verdict.entries,
        "mails": len(evidence.mails),
        "kills": [asdict(kill) for kill in evidence.kills],
        "races": {
            "accepted_first": orders["accepted"],
            "withdrawn_first": orders["refused"],
            "gap_ms_max": round(max((race.gap_ms for race in evidence.races), default=0.0), 2),
        },
        "listed": [asdict(each) for each in evidence.outsiders],
        "directories": [report.as_json() | {"rows": len(report.refused)} for report in run.reports],
        "processes": [
            {name: getattr(each, name) for name in ("name", "pid", "database_roles", "kafka_users")}
            for each in evidence.identities
        ],
        "searched_bytes": {each.place: each.size_bytes for each in evidence.searched},
        "checks": [
            {"name": result.name, "holds": result.holds, "problems": list(result.problems)}
            for result in run.results
        ],
        "seconds": run.seconds,
    }


def show_run(run: DemoRun, console: Console) -> None:
    """The run in tables: stories, kills, identities, checks."""
    evidence, told = run.evidence, document(run)
    stories = Table("story", "ends", "referrals", title="Referrals")
    for (story, ends), count in Counter((each.story, each.ends) for each in evidence.played).most_common():
        stories.add_row(story, ends, str(count))
    console.print(stories)
    console.print(
        "{steps} steps answered 202, {facts} facts received, {looks} looks, {entries} entries in the trail, "
        "{mails} mails".format_map(told)
    )
    for kill in told["kills"]:
        console.print(
            "{part} (pid {pid}) was killed on purpose with {unanswered} steps unanswered; "
            "back after {back_after_seconds} s".format_map(kill)
        )
    console.print(
        "acceptance and withdrawal at once: {accepted_first} times accepted first, "
        "{withdrawn_first} times withdrawn first, at most {gap_ms_max:.1f} ms apart".format_map(told["races"])
    )
    for place in evidence.searched:
        console.print(
            f"looked for planted names in {place.size_bytes / 1_000_000:.1f} MB of {place.place}; "
            f"found the control string in {len(place.control_found)} of {len(FORMS)} forms"
        )
    for listed in told["listed"]:
        console.print("listed only: an offer to {title} was refused, {code}".format_map(listed))
    processes = Table("process", "pid", "database role", "Kafka user", title="As the servers report them")
    for each in evidence.identities:
        roles, users = (", ".join(names) or "–" for names in (each.database_roles, each.kafka_users))
        processes.add_row(each.name, str(each.pid), roles, users)
    console.print(processes)
    console.print("[bold]Checks from outside[/bold]")
    for result in run.results:
        mark = "[green]✓[/green]" if result.holds else "[red]✗[/red]"
        console.print(f"{mark} {result.name}: {result.promise}")
        for problem in result.problems[:PROBLEMS_SHOWN]:
            console.print(f"    {problem}", style="red", markup=False)
        if len(result.problems) > PROBLEMS_SHOWN:
            console.print(f"    and {len(result.problems) - PROBLEMS_SHOWN} more", style="red")
    console.print(f"{sum(run.seconds.values()):.1f} s in all")
