"""`concert offsets reset`: a reader goes on from another offset."""

from typing import Annotated

import typer

from services.cli.installed import DataDirectory
from services.cli.plans import Confirm, Reason, propose
from services.cli.readers import READERS
from services.cli.talk import AsJson, check_choices

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _noun() -> None:
    return None


@app.command("reset", short_help="Have a reader go back, or skip what it cannot use.")
def reset(
    service: Annotated[str, typer.Argument(help=f"The reader; one of: {', '.join(READERS)}.")],
    topic: str,
    partition: int,
    to: Annotated[int, typer.Option(help="The offset of the record that it is to read next.")],
    confirm: Confirm = None,
    reason: Reason = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert offsets reset referrals TOPIC 0 --to 7`, then as it says.

    Shows how many records are read once more, or never, and changes nothing. What is read once more takes
    effect once; a reader goes back only as far as its inbox knows events. To skip needs another person's
    word: later events of the same keys are set aside then, until their writer sends again what was skipped.
    """
    check_choices([service], READERS, "SERVICE")
    chosen = {"topic": topic, "partition": partition, "to": to}
    propose(data, "reset", service, chosen, reason=reason, count=confirm, as_json=as_json)
