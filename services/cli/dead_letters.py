"""`concert dead-letters list|discard`: the records that services set aside, for as long as nobody looked."""

import json
from typing import Annotated, Final

import typer

from schemas.topics import TOPICS
from services.cli.installed import DataDirectory
from services.cli.operator_client import ask, ask_all, check_all_answered
from services.cli.talk import AsJson, check_choices, command, say, show

app = typer.Typer(no_args_is_help=True, help="Records that were set aside.")

READERS: Final = tuple(sorted({reader for topic in TOPICS for reader in topic.readers}))
NAMES: Final = ("service", "topic", "partition", "reason", "count", "since")


@app.command("list", short_help="Count what was set aside and waits for a person.")
def list_letters(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert dead-letters list`, `concert dead-letters list --json`.

    Counts what was set aside and still waits for a person, by service, partition and reason.
    """
    answers = ask_all(data, READERS, "/v1/dead-letters")
    rows = [{"service": name, **row} for name, answer in answers.items() for row in answer["data"]]
    show(rows, ["\t".join(str(row[name]) for name in NAMES) for row in rows], as_json=as_json)
    if rows:
        following = command("dead-letters discard SERVICE REASON --confirm COUNT", data)
        say(f"Next: mend the sender or the reader, then {following}.")
    check_all_answered(data, READERS, answers)


@app.command("discard", short_help="Say that those of one reason are not needed.")
def discard(
    service: Annotated[str, typer.Argument(help=f"One of: {', '.join(READERS)}.")],
    reason: Annotated[str, typer.Argument(help="A reason that `list` shows.")],
    confirm: Annotated[int, typer.Option(help="How many there are, as `list` counts them.")],
    data: DataDirectory = None,
) -> None:
    """Example: `concert dead-letters discard referrals bad_json --confirm 3`.

    Ends the alarm: they are not needed. Their bytes stay; exit 5 where there are more or fewer by now.
    """
    check_choices([service], READERS, "SERVICE")
    content = json.dumps({"reason": reason, "count": confirm}).encode()
    ask(data, service, "POST", "/v1/dead-letters/discard", content)
    say(f"{confirm} discarded. Next: {command('status', data)}.")
