"""`concert refill`: a service sends again what it has sent, where only a person can know of the need."""

import json
from typing import Annotated, Final
from urllib.parse import urlencode

import typer

from schemas.topics import TOPICS
from services.cli.installed import DataDirectory, ask
from services.cli.talk import AsJson, check_choices, command, say, show

app = typer.Typer()

WRITERS: Final = tuple(sorted({topic.writer for topic in TOPICS}))


@app.command("refill")
def refill(
    service: Annotated[str, typer.Argument(help=f"The writer; one of: {', '.join(WRITERS)}.")],
    topic: Annotated[str | None, typer.Option(help="Only this topic, as the plan names it.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what was sent from this time on (RFC 3339).")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, without a word on any person; it is kept. Then it is done.")
    ] = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert refill referrals`, `concert refill referrals --reason "brokers lost a disk"`.

    Shows what would be sent again and changes nothing; with a reason it is sent, under its old ids and with
    its bytes, so that readers drop what they have. A log that got shorter is refilled without being asked.
    """
    check_choices([service], WRITERS, "SERVICE")
    chosen = {name: value for name, value in (("topic", topic), ("since", since)) if value is not None}
    if reason is None:
        rows = ask(data, service, "GET", f"/v1/refill?{urlencode(chosen)}")["data"]
        lines = [f"{row['topic']}\t{row['rows']}\tsent since {row['since']}" for row in rows]
        show({"data": rows}, lines or ["Nothing that was sent is kept."], as_json=as_json)
        if rows:
            say(f"Nothing was changed. Next, if this is to be sent again: {command('refill --help', data)}")
        return
    answer = ask(data, service, "POST", "/v1/refill", json.dumps({**chosen, "reason": reason}).encode())
    lines = [f"{name}\t{count} are sent again" for name, count in answer["sent_again"].items()]
    show(answer, lines, as_json=as_json)
    say(f"Next: {command('status', data)}.")
