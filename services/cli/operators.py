"""`concert operators …`: who may come to the operators' console, and as what; people by pseudonym."""

import json
import re
from typing import Annotated, Any, Final

import typer

from deploy.local.configuration import load
from deploy.local.installation import Installation
from deploy.local.issuer.persons import add_person, is_person
from services.cli.installed import DataDirectory, ask, installed
from services.cli.talk import AsJson, check_choices, check_reason, command, say, show
from services.cli.tokens import NotLocal
from services.operations.domain.roles import ROLES
from services.runtime.tokens import PSEUDONYM

app = typer.Typer(no_args_is_help=True, help="Who may come to the console, and as what.")

NO_REASON: Final = "said by the holder of the operator's certificate, without another reason"

Person = Annotated[str, typer.Argument(help="The issuer's pseudonym of the person; never a name.")]
Reason = Annotated[str, typer.Option(help="Why, without a word on any person; it is kept.")]


@app.command("list", short_help="Everybody who has a role.")
def list_operators(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Example: `concert operators list`.

    Shows each person's role, and since when.
    """
    found = ask(data, "operations", "GET", "/v1/operators")
    _show(found, as_json=as_json)
    if not found["data"]:
        say(f"Nobody has a role. Next: {command('operators grant PERSON administrator', data)}.")


@app.command("grant", short_help="Give a person a role.")
def grant(
    person: Person,
    role: Annotated[str, typer.Argument(help=f"One of: {', '.join(ROLES)}.")],
    reason: Reason = NO_REASON,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert operators grant p-17 viewer --reason "on call from May"`.

    Gives a role in the place of any other: a viewer looks; an operator also lets stopped partitions go on; a
    redriver also redrives, discards, resets and refills; an administrator may do everything.
    """
    _check_person(person)
    check_choices([role], ROLES, "ROLE")
    check_reason(reason)
    content = json.dumps({"role": role, "reason": reason}).encode()
    _show(ask(data, "operations", "PUT", f"/v1/operators/{person}", content), as_json=as_json)
    installation = installed(data)
    console = installation.console("operations")
    if _has_local_issuer(installation) and not is_person(installation.persons_file, person):
        say(f"Next: {command(f'operators add {person}', data)}, for the local issuer does not know them yet.")
    elif console:
        say(f"Next: they sign in at {console.address}/ops.")


@app.command("revoke", short_help="Take a person's role.")
def revoke(
    person: Person, reason: Reason = NO_REASON, data: DataDirectory = None, as_json: AsJson = False
) -> None:
    """Example: `concert operators revoke p-17 --reason "left the team"`.

    Takes the role, and whoever is signed in by that pseudonym is out at once, in every browser.
    """
    _check_person(person)
    check_reason(reason)
    content = json.dumps({"reason": reason}).encode()
    _show(ask(data, "operations", "POST", f"/v1/operators/{person}/revocation", content), as_json=as_json)
    say(f"{person} has no role any more, and is signed in nowhere.")


@app.command("add", short_help="Let a person sign in at the local issuer.")
def add(person: Person, data: DataDirectory = None) -> None:
    """Example: `concert operators add p-17`.

    Prints a new passphrase, this once; whoever had one has another. Mode `local` only.
    """
    _check_person(person)
    if load(data).mode != "local":
        raise NotLocal
    installation = installed(data)
    if not _has_local_issuer(installation):
        raise NotLocal
    print(add_person(installation.persons_file, person))
    say(f"Next: they sign in at {installation.api_url('operations')}/ops, once they have a role.")


def _has_local_issuer(installation: Installation) -> bool:
    return installation.configuration.issuer is None


def _check_person(person: str) -> None:
    if not re.fullmatch(PSEUDONYM, person):
        raise typer.BadParameter("letters, digits and . _ : - , at most 64", param_hint="PERSON")


def _show(found: Any, *, as_json: bool) -> None:
    rows = found["data"]
    lines = [f"{row['person']}\t{row['role']}\tsince {row['granted_at'][:10]}" for row in rows]
    show(rows, lines, as_json=as_json)
