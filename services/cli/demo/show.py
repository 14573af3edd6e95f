"""A run for people to read, and for machines."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from services.cli.demo.checks_facts import order_of
from services.cli.demo.run import Run
from services.cli.demo.traces import FORMS


def show(run: Run, console: Console) -> None:
    """The run in tables: stories, kills, identities, checks."""
    evidence = run.evidence
    _stories(run, console)
    console.print(
        f"{len(evidence.asked)} steps answered 202, {len(evidence.received)} facts received, "
        f"{len(evidence.reads)} looks, {evidence.verdict.entries} entries in the trail, "
        f"{len(evidence.mails)} mails"
    )
    for kill in evidence.kills:
        console.print(
            f"{kill.part} (pid {kill.pid}) was killed on purpose with {kill.unanswered} steps unanswered; "
            f"back after {kill.back_after_seconds} s"
        )
    orders = Counter(order_of(race.referral, evidence.addressed) for race in evidence.races)
    gaps = [race.gap_ms for race in evidence.races]
    console.print(
        f"acceptance and withdrawal at once: {orders['accepted']} times accepted first, "
        f"{orders['refused']} times withdrawn first, at most {max(gaps, default=0):.1f} ms apart"
    )
    for searched in evidence.searched:
        console.print(
            f"looked for planted names in {searched.size_bytes / 1_000_000:.1f} MB of {searched.place}; "
            f"found the control string in {len(searched.control_found)} of {len(FORMS)} forms"
        )
    for each in evidence.listed:
        console.print(f"listed only: an offer to {each.title} was refused, {each.code}")
    _identities(run, console)
    _checks(run, console)


def _stories(run: Run, console: Console) -> None:
    table = Table("story", "ends", "referrals", title="Referrals")
    counts = Counter((played.story, played.ends) for played in run.evidence.played)
    for (story, ends), count in counts.most_common():
        table.add_row(story, ends, str(count))
    console.print(table)


def _identities(run: Run, console: Console) -> None:
    table = Table("process", "pid", "database role", "Kafka user", title="As the servers report them")
    for each in run.evidence.identities:
        table.add_row(each.name, str(each.pid), ", ".join(each.roles) or "–", ", ".join(each.users) or "–")
    console.print(table)


def _checks(run: Run, console: Console) -> None:
    console.print("[bold]Checks from outside[/bold]")
    for result in run.results:
        console.print(
            f"{'[green]✓[/green]' if result.holds else '[red]✗[/red]'} {result.name}: {result.promise}"
        )
        for problem in result.problems[:5]:
            console.print(f"    {problem}", style="red", markup=False)
        if len(result.problems) > 5:
            console.print(f"    and {len(result.problems) - 5} more", style="red")
    console.print(f"{sum(run.seconds.values()):.1f} s in all")


def document(run: Run) -> dict[str, Any]:
    """The run for machines."""
    evidence = run.evidence
    orders = Counter(order_of(race.referral, evidence.addressed) for race in evidence.races)
    return {
        "holds": run.holds,
        "referrals": len(evidence.played),
        "stories": dict(Counter(played.story for played in evidence.played)),
        "steps": len(evidence.asked),
        "facts": len(evidence.received),
        "looks": len(evidence.reads),
        "entries": evidence.verdict.entries,
        "mails": len(evidence.mails),
        "kills": [
            {
                "part": kill.part,
                "pid": kill.pid,
                "unanswered": kill.unanswered,
                "back_after_seconds": kill.back_after_seconds,
            }
            for kill in evidence.kills
        ],
        "races": {
            "accepted_first": orders["accepted"],
            "withdrawn_first": orders["refused"],
            "gap_ms_max": round(max((race.gap_ms for race in evidence.races), default=0.0), 2),
        },
        "listed": [
            {"organization": each.organization, "title": each.title, "code": each.code}
            for each in evidence.listed
        ],
        "directories": [report.as_json() | {"rows": len(report.refused)} for report in run.reports],
        "processes": [
            {"name": each.name, "pid": each.pid, "database_roles": each.roles, "kafka_users": each.users}
            for each in evidence.identities
        ],
        "searched_bytes": {each.place: each.size_bytes for each in evidence.searched},
        "checks": [
            {"name": result.name, "holds": result.holds, "problems": list(result.problems)}
            for result in run.results
        ],
        "seconds": run.seconds,
    }
