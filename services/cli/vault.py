"""`concert vault …`: how sectors' vaults are, and new keys, by the operator's certificate."""

from typing import Annotated

import typer

from schemas.topics import SECTORS
from services.cli.installed import DataDirectory, ask, ask_all, check_all_answered
from services.cli.talk import AsJson, check_choices, command, say, show

app = typer.Typer(no_args_is_help=True)


@app.command("status", short_help="Say how each vault is.")
def status(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert vault status`, `concert vault status --json`.

    Shows whether each vault opens packets, or why not; its epoch, its ledger, and what it has released.
    """
    rows, silent = ask_all(data, SECTORS, "/v1/vault")
    lines = [
        f"{row['service']:<16} {row['closed'] or 'open':<16} epoch {row['epoch']}, ledger {row['ledger']}, "
        f"released {row['released']}, refused {row['refused']}"
        for row in rows
    ]
    show(rows, lines, as_json=as_json)
    check_all_answered(data, silent)


@app.command("rotate", short_help="Begin a new epoch of keys.")
def rotate(
    sector: Annotated[str, typer.Argument(help=f"One of: {', '.join(SECTORS)}.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert vault rotate health`.

    Every stored key is wrapped anew under the new epoch's. The old one's goes 35 days after its epoch began:
    until then it opens backups.
    """
    check_choices([sector], SECTORS, "SECTOR")
    answer = ask(data, sector, "POST", "/v1/vault/rotation")
    show(
        answer,
        [f"{sector}: epoch {answer['epoch']} has begun; stored keys are wrapped anew."],
        as_json=as_json,
    )
    say(f"Next: {command('vault status', data)}.")
