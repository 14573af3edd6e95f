"""`concert plans …`: operators' acts, tried without effect, confirmed with a reason, approved by another."""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from services.cli.installed import DataDirectory, ask
from services.cli.talk import CONFLICT, TEMPORARY, AsJson, check_reason, command, fail, say, show

app = typer.Typer(no_args_is_help=True)

OPERATIONS: Final = "operations"
WAITS: Final = "waits_for_second"
POLL_SECONDS: Final = 0.3

PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="An id that `list` shows.")]
Confirm = Annotated[int | None, typer.Option(help="How much the plan is about, as it was shown.")]
Reason = Annotated[
    str | None, typer.Option(help="Why, without a word on any person; it is kept. Then it is done.")
]


@app.command("list", short_help="Show the newest plans.")
def list_plans(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert plans list`, `concert plans list --json`.

    Shows what was planned, by the command or on the pages, and how far it is.
    """
    rows = ask(data, OPERATIONS, "GET", "/v1/plans")["data"]
    lines = ["\t".join(str(row[name]) for name in ("id", "state", "act", "service", "count")) for row in rows]
    show({"data": rows}, lines or ["Nothing was planned."], as_json=as_json)


@app.command("show", short_help="Show one, with its receipt once it has ended.")
def show_plan(name: PlanName, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert plans show plan_…`.

    Shows what a plan is about, what was said to it, and what came of it.
    """
    plan = ask(data, OPERATIONS, "GET", f"/v1/plans/{name}")
    show(plan, _lines(plan), as_json=as_json)


@app.command("confirm", short_help="Say why, and that it is to be done.")
def confirm(
    name: PlanName,
    reason: Annotated[str, typer.Option(help="Why, without a word on any person; it is kept.")],
    count: Annotated[int, typer.Option("--confirm", help="How much the plan is about, as it was shown.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert plans confirm plan_… --confirm 3 --reason "reader mended"`.

    Begins what the command has planned; exit 6 where another person must approve it first.
    """
    _confirm(data, name, reason, count, as_json=as_json)


@app.command("approve", short_help="Agree to what another has confirmed.")
def approve(name: PlanName, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert plans approve plan_…`.

    Begins what a person has confirmed on the pages; nobody approves a plan of their own.
    """
    _follow(data, _say(data, name, "approval"), as_json=as_json)


@app.command("pause", short_help="Let one that runs stand still.")
def pause(name: PlanName, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert plans pause plan_…`, then `concert plans resume plan_…`.

    It stands still once what it has in hand is through.
    """
    plan = _say(data, name, "pause")
    show(plan, _lines(plan), as_json=as_json)


@app.command("resume", short_help="Let one that stands still go on.")
def resume(name: PlanName, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert plans resume plan_…`."""
    _follow(data, _say(data, name, "resumption"), as_json=as_json)


@app.command("cancel", short_help="Let one go no further.")
def cancel(name: PlanName, data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert plans cancel plan_…`.

    What was done stays done; its receipt says how far it came.
    """
    plan = _say(data, name, "cancellation")
    show(plan, _lines(plan), as_json=as_json)


def propose(
    data: DataDirectory,
    act: str,
    service: str,
    chosen: Mapping[str, Any],
    *,
    reason: str | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Try an act without effect and show the plan; with a reason and its count it is confirmed at once."""
    if (reason is None) != (count is None):
        raise typer.BadParameter("say both, or none to see what is meant", param_hint="--confirm, --reason")
    check_reason(reason)
    asked = {"act": act, "service": service, "chosen": chosen}
    plan = ask(data, OPERATIONS, "POST", "/v1/plans", json.dumps(asked).encode())
    if reason is not None and count is not None:
        _confirm(data, plan["id"], reason, count, as_json=as_json)
        return
    show(plan, _lines(plan), as_json=as_json)
    following = command(f"plans confirm {plan['id']} --confirm {plan['count']} --reason WHY", data)
    say(f"Nothing was changed. Next, within half an hour: {following}.")


def _confirm(data: DataDirectory, name: str, reason: str, count: int, *, as_json: bool) -> None:
    check_reason(reason)
    content = json.dumps({"reason": reason, "count": count}).encode()
    plan = ask(data, OPERATIONS, "POST", f"/v1/plans/{name}/confirmation", content)
    if plan["state"] == WAITS:
        show(plan, _lines(plan), as_json=as_json)
        fail("nothing was changed: another person must approve it, at /ops", TEMPORARY)
    _follow(data, plan, as_json=as_json)


def _say(data: DataDirectory, name: str, word: str) -> Any:
    return ask(data, OPERATIONS, "POST", f"/v1/plans/{name}/{word}", b"{}")


def _follow(data: DataDirectory, plan: Mapping[str, Any], *, as_json: bool) -> None:
    """Wait for its end; whoever interrupts this interrupts the waiting alone."""
    while plan["state"] == "running":
        time.sleep(POLL_SECONDS)
        plan = ask(data, OPERATIONS, "GET", f"/v1/plans/{plan['id']}")
    show(plan, _lines(plan), as_json=as_json)
    if plan["state"] != "done":
        told = plan["failure"] or plan["state"]
        fail(f"the plan was not carried out whole: {told}; see {command('plans list', data)}", CONFLICT)


def _lines(plan: Mapping[str, Any]) -> list[str]:
    told = {name: plan[name] for name in ("id", "act", "service")}
    told |= plan["chosen"] | {"count": plan["count"]} | plan["figures"]
    told |= {name: plan[name] for name in ("state", "needs_second", "expires_at", "reason", "failure")}
    told |= plan["progress"] | {"receipt": plan["receipt"]}
    return [f"{name}\t{one}" for name, one in told.items() if one is not None]
