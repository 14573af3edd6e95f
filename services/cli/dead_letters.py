"""`concert dead-letters …`: records that services set aside; to look at, to try again, to give up."""

from typing import Annotated, Any

import typer

from services.cli.installed import DataDirectory, ask, check_all_answered
from services.cli.plans import OPERATIONS, Confirm, Reason, propose
from services.cli.readers import READERS, lines_of
from services.cli.talk import AsJson, check_choices, command, say, show

app = typer.Typer(no_args_is_help=True, help="Records that were set aside.")

Service = Annotated[str, typer.Argument(help=f"One of: {', '.join(READERS)}.")]
Code = Annotated[str, typer.Argument(help="A code that `list` shows.")]
Topic = Annotated[str | None, typer.Option(help="Only those of this topic.")]
Type = Annotated[str | None, typer.Option("--type", help="Only those of this type.")]
Id = Annotated[str | None, typer.Option("--id", help="Only this one.")]


@app.command("list", short_help="Count what was set aside and waits for a person.")
def list_letters(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert dead-letters list`, `concert dead-letters list --json`.

    Counts what waits by service, topic, code and type, since when, and names the oldest of each kind.
    """
    found = ask(data, OPERATIONS, "GET", "/v1/dead-letters")
    rows = found["data"]
    show(rows, lines_of(rows), as_json=as_json)
    if rows:
        following = command("dead-letters redrive SERVICE CODE", data)
        say(f"Next: mend the sender or the reader, then {following}.")
    check_all_answered(data, found["silent"])


@app.command("show", short_help="Show what is known of one, but never its content.")
def show_letter(
    service: Service,
    letter: Annotated[str, typer.Argument(help="An id that `list` shows.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert dead-letters show referrals dl_…`.

    Shows where the record lies, why it could not be used and where in it the fault is; no key and no value.
    """
    check_choices([service], READERS, "SERVICE")
    found = ask(data, OPERATIONS, "GET", f"/v1/dead-letters/{service}/{letter}")
    lines = [f"{name}\t{one}" for name, one in found.items() if one is not None]
    show(found, lines, as_json=as_json)


@app.command("redrive", short_help="Try those of one code again.")
def redrive(
    service: Service,
    code: Code,
    topic: Topic = None,
    type_: Type = None,
    letter: Id = None,
    confirm: Confirm = None,
    reason: Reason = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert dead-letters redrive police handler`, then as it says.

    Shows how many are meant and can be read by now, and changes nothing; with count and reason the service's
    own handler runs again, so many a second, key by key, up to the first that fails, then on what waited
    behind them. More than 50 wait for another person's word (exit 6).
    """
    chosen = _chosen(service, code, topic, type_, letter)
    propose(data, "redrive", service, chosen, reason=reason, count=confirm, as_json=as_json)


@app.command("discard", short_help="Say that those of one code are not needed.")
def discard(
    service: Service,
    code: Code,
    topic: Topic = None,
    type_: Type = None,
    letter: Id = None,
    confirm: Confirm = None,
    reason: Reason = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert dead-letters discard referrals malformed_json --confirm 3 --reason "tests"`.

    Shows how many are meant and changes nothing; with count and reason, and another person's word (exit 6),
    they are given up: their content goes, and what waits behind them goes on. Exit 5 where their number is
    another.
    """
    chosen = _chosen(service, code, topic, type_, letter)
    propose(data, "discard", service, chosen, reason=reason, count=confirm, as_json=as_json)


def _chosen(
    service: str, code: str, topic: str | None, type_: str | None, letter: str | None
) -> dict[str, Any]:
    check_choices([service], READERS, "SERVICE")
    given = {"code": code, "topic": topic, "type": type_, "id": letter}
    return {name: one for name, one in given.items() if one is not None}
