"""`concert refill`: a service sends again what it has sent, where only a person can know of the need."""

from typing import Annotated, Final

import typer

from schemas.topics import TOPICS
from services.cli.installed import DataDirectory
from services.cli.plans import Confirm, Reason, propose
from services.cli.talk import AsJson, check_choices

app = typer.Typer()

WRITERS: Final = tuple(sorted({topic.writer for topic in TOPICS}))


@app.command("refill")
def refill(
    service: Annotated[str, typer.Argument(help=f"The writer; one of: {', '.join(WRITERS)}.")],
    topic: Annotated[str | None, typer.Option(help="Only this topic, as the plan names it.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what was sent from this time on (RFC 3339).")
    ] = None,
    confirm: Confirm = None,
    reason: Reason = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert refill referrals`, then as it says.

    Shows what would be sent again and changes nothing; once confirmed it is sent, under its old ids and with
    its bytes, so that readers drop what they have. A log that got shorter is refilled without being asked.
    """
    check_choices([service], WRITERS, "SERVICE")
    chosen = {name: value for name, value in (("topic", topic), ("since", since)) if value is not None}
    propose(data, "refill", service, chosen, reason=reason, count=confirm, as_json=as_json)
