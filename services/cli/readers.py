"""`concert dead-letters …`, `concert readers …`: records that were set aside, and partitions that stopped."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from schemas.topics import TOPICS
from services.cli.installed import DataDirectory, ask, ask_all, check_all_answered
from services.cli.talk import AsJson, check_choices, command, say, show

dead_letters = typer.Typer(no_args_is_help=True, help="Records that were set aside.")
readers = typer.Typer(no_args_is_help=True)

READERS: Final = tuple(sorted({reader for topic in TOPICS for reader in topic.readers}))


@dead_letters.command("list", short_help="Count what was set aside and waits for a person.")
def list_letters(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert dead-letters list`, `concert dead-letters list --json`.

    Counts what was set aside and still waits for a person, by service, partition and reason.
    """
    rows, silent = ask_all(data, READERS, "/v1/dead-letters")
    show(rows, _lines(rows), as_json=as_json)
    if rows:
        following = command("dead-letters discard SERVICE REASON --confirm COUNT", data)
        say(f"Next: mend the sender or the reader, then {following}.")
    check_all_answered(data, silent)


@dead_letters.command("discard", short_help="Say that those of one reason are not needed.")
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


@readers.command("list", short_help="Show the partitions that stopped, and why.")
def list_alarms(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert readers list`, `concert readers list --json`.

    Shows every partition that stopped, or whose reader lost something, until `resume` ends it.
    """
    rows, silent = ask_all(data, READERS, "/v1/readers")
    show({"data": rows}, _lines(rows) or ["Nothing stands over any partition."], as_json=as_json)
    if rows:
        say(f"Next, once the cause is known: {command('readers resume --help', data)}")
    check_all_answered(data, silent)


@readers.command("resume", short_help="Let a partition go on.")
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


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return ["\t".join(map(str, row.values())) for row in rows]
