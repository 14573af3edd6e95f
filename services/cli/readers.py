"""`concert readers …`: partitions that stopped."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from schemas.topics import TOPICS
from services.cli.installed import DataDirectory, ask, check_all_answered
from services.cli.plans import OPERATIONS, Confirm, Reason, propose
from services.cli.talk import AsJson, check_choices, command, say, show

readers = typer.Typer(no_args_is_help=True)

READERS: Final = tuple(sorted({reader for topic in TOPICS for reader in topic.readers}))


@readers.command("list", short_help="Show the partitions that stopped, and why.")
def list_alarms(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert readers list`, `concert readers list --json`.

    Shows every partition that stopped, or whose reader lost something, until `resume` ends it.
    """
    found = ask(data, OPERATIONS, "GET", "/v1/readers")
    rows = found["data"]
    show({"data": rows}, lines_of(rows) or ["Nothing stands over any partition."], as_json=as_json)
    if rows:
        say(f"Next, once the cause is known: {command('readers resume --help', data)}")
    check_all_answered(data, found["silent"])


@readers.command("resume", short_help="Let a partition go on.")
def resume(
    service: Annotated[str, typer.Argument(help="The reader: a name of the first column of `list`.")],
    topic: str,
    partition: int,
    confirm: Confirm = None,
    reason: Reason = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert readers resume referrals TOPIC 0 --confirm 1 --reason "sender mended"`.

    Shows what stands over a partition and changes nothing; with its number and a reason that ends, and a
    partition that stopped goes on with the record after its last dead letter.
    """
    check_choices([service], READERS, "SERVICE")
    chosen = {"topic": topic, "partition": partition}
    propose(data, "resume", service, chosen, reason=reason, count=confirm, as_json=as_json)


def lines_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each row, its cells divided by tabs."""
    return ["\t".join(map(str, row.values())) for row in rows]
