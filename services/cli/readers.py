"""`concert readers list|resume`: what stands over partitions that services read; letting them go on."""

import json
from typing import Annotated

import typer

from services.cli.dead_letters import READERS
from services.cli.installed import DataDirectory
from services.cli.operator_client import ask, ask_all, check_all_answered
from services.cli.talk import AsJson, check_choices, command, say, show

app = typer.Typer(no_args_is_help=True)


@app.command("list", short_help="Show the partitions that stopped, and why.")
def list_alarms(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert readers list`, `concert readers list --json`.

    Shows every partition that stopped, or whose reader lost something, until `resume` ends it.
    """
    answers = ask_all(data, READERS, "/v1/readers")
    rows = [{"service": name, **row} for name, answer in answers.items() for row in answer["data"]]
    lines = ["\t".join(row.values()) for row in rows] or ["Nothing stands over any partition."]
    show({"data": rows}, lines, as_json=as_json)
    if rows:
        say(f"Next, once the cause is known: {command('readers resume --help', data)}")
    check_all_answered(data, READERS, answers)


@app.command("resume", short_help="Let a partition go on.")
def resume(
    service: Annotated[str, typer.Argument(help="The reader: a name of the first column of `list`.")],
    topic: str,
    partition: int,
    reason: Annotated[str, typer.Option(help="Why it may go on, without a word on any person; it is kept.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert readers resume referrals TOPIC 0 --reason "sender mended"`, as `list` names it.

    Ends what stands over a partition; one that stopped goes on with the record after its last dead letter.
    """
    check_choices([service], READERS, "SERVICE")
    content = json.dumps({"reason": reason}).encode()
    answer = ask(data, service, "POST", f"/v1/readers/{topic}/{partition}/resumption", content)
    line = f"Ended: {', '.join(answer['ended'])}. The reader goes on within seconds."
    show(answer, [line], as_json=as_json)
