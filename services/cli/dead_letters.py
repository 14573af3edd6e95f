"""`concert dead-letters …`: records that services set aside; to look at, to try again, to give up."""

import json
from typing import Annotated, Any

import typer

from services.cli.installed import DataDirectory, ask, ask_all, check_all_answered
from services.cli.readers import READERS, lines_of
from services.cli.talk import AsJson, check_choices, command, say, show

app = typer.Typer(no_args_is_help=True, help="Records that were set aside.")

Service = Annotated[str, typer.Argument(help=f"One of: {', '.join(READERS)}.")]
Code = Annotated[str, typer.Argument(help="A code that `list` shows.")]
Topic = Annotated[str | None, typer.Option(help="Only those of this topic.")]
Type = Annotated[str | None, typer.Option("--type", help="Only those of this type.")]
Id = Annotated[str | None, typer.Option("--id", help="Only this one.")]
Reason = Annotated[
    str | None, typer.Option(help="Why, without a word on any person; it is kept. Then it is done.")
]


@app.command("list", short_help="Count what was set aside and waits for a person.")
def list_letters(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert dead-letters list`, `concert dead-letters list --json`.

    Counts what waits by service, topic, code and type, since when, and names the oldest of each kind.
    """
    rows, silent = ask_all(data, READERS, "/v1/dead-letters")
    show(rows, lines_of(rows), as_json=as_json)
    if rows:
        following = command("dead-letters redrive SERVICE CODE", data)
        say(f"Next: mend the sender or the reader, then {following}.")
    check_all_answered(data, silent)


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
    found = ask(data, service, "GET", f"/v1/dead-letters/{letter}")
    lines = [f"{name}\t{one}" for name, one in found.items() if one is not None]
    show(found, lines, as_json=as_json)


@app.command("redrive", short_help="Try those of one code again.")
def redrive(
    service: Service,
    code: Code,
    topic: Topic = None,
    type_: Type = None,
    letter: Id = None,
    reason: Reason = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert dead-letters redrive police handler`, then with `--reason "handler mended"`.

    Shows how many can be read by now and changes nothing; with a reason the service's own handler runs again,
    key by key, up to the first that fails, and then on what waited behind them.
    """
    chosen = _chosen(service, code, topic, type_, letter)
    if reason is None:
        _rehearse(data, service, chosen, "redrive", as_json=as_json)
        return
    done = _post(data, service, "redrive", chosen | {"reason": reason})
    line = f"{done['redriven']} took effect now, or had before; {done['waiting']} wait on."
    show(done, [line], as_json=as_json)


@app.command("discard", short_help="Say that those of one code are not needed.")
def discard(
    service: Service,
    code: Code,
    topic: Topic = None,
    type_: Type = None,
    letter: Id = None,
    confirm: Annotated[
        int | None, typer.Option(help="How many there are, as shown without a reason.")
    ] = None,
    reason: Reason = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert dead-letters discard referrals malformed_json --confirm 3 --reason "tests"`.

    Shows how many are meant and changes nothing; with count and reason they are given up: their content goes,
    and what waits behind them goes on. Exit 5 where there are more or fewer by now.
    """
    chosen = _chosen(service, code, topic, type_, letter)
    if reason is None and confirm is None:
        _rehearse(data, service, chosen, "discard", as_json=as_json)
        return
    if reason is None or confirm is None:
        raise typer.BadParameter("say both, or none to see what is meant", param_hint="--confirm, --reason")
    done = _post(data, service, "discard", chosen | {"count": confirm, "reason": reason})
    show(done, [f"{confirm} discarded."], as_json=as_json)


def _chosen(
    service: str, code: str, topic: str | None, type_: str | None, letter: str | None
) -> dict[str, Any]:
    check_choices([service], READERS, "SERVICE")
    given = {"code": code, "topic": topic, "type": type_, "id": letter}
    return {name: one for name, one in given.items() if one is not None}


def _post(data: DataDirectory, service: str, act: str, content: dict[str, Any]) -> Any:
    return ask(data, service, "POST", f"/v1/dead-letters/{act}", json.dumps(content).encode())


def _rehearse(data: DataDirectory, service: str, chosen: dict[str, Any], act: str, *, as_json: bool) -> None:
    found = _post(data, service, "rehearsal", chosen)
    still = [f"{count} are still {code}" for code, count in found["still"].items()]
    lines = [f"{found['letters']} are meant", f"{found['readable']} can be read now", *still]
    show(found, lines, as_json=as_json)
    say(f"Nothing was changed. Next: {command(f'dead-letters {act} --help', data)}.")
