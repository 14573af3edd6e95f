"""`concert cases …`: who holds what, her consent's next version, and erasure, for a person of the owner."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.installed import DataDirectory
from services.cli.persons import Person, Purpose
from services.cli.talk import AsJson, check_choices, command, say, show
from services.cli.tokens import Role, Staff

app = typer.Typer(
    no_args_is_help=True,
    help="Example: `concert cases holders cas_… --purpose care --agency lantern-house --staff s-1 "
    "--role caseworker`.",
)

Case = Annotated[str, typer.Argument(metavar="CASE", help="The case's id.")]
Agency = Annotated[str, typer.Option(help="The agency that owns the case.")]
Duty = Annotated[str, typer.Option(help="The owner's duty desk, which hears what comes of it.")]


@app.command("holders", short_help="Say which agency holds what of a case.")
def holders(
    case: Case,
    purpose: Purpose,
    agency: Agency,
    staff: Staff,
    role: Role,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Each group that was released, to whom and when, and whether that agency has sealed it since."""
    path = f"/v1/cases/{case}/holders"
    rows = Person(agency, staff, role, data).ask("GET", path, purpose=purpose).json()["data"]
    lines = [
        f"{row['agency']}\t{row['group']}\tversion {row['version']}\t{row['released_at']}\t"
        f"{'sealed' if row['sealed'] else 'held'}"
        for row in rows
    ]
    show(rows, lines or ["Nobody holds anything of it."], as_json=as_json)


@app.command("agree", short_help="Record the next version of a consent.")
def agree(
    case: Case,
    consent: Annotated[str, typer.Argument(metavar="CONSENT", help="The consent's id.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)],
    agency: Agency,
    staff: Staff,
    role: Role,
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Records what she agrees to from now on: FILE is the body of the port's `record_consent_version`.

    The version before rules no release any more once this has been answered.
    """
    path = f"/v1/cases/{case}/consents/{consent}/versions"
    answer = Person(agency, staff, role, data).ask("POST", path, content=file.read_bytes()).json()
    show(answer, [f"Consent {answer['id']}, version {answer['version']}: recorded."], as_json=as_json)


@app.command("erase", short_help="Erase a case; it cannot be undone.")
def erase(
    case: Case,
    duty: Duty,
    agency: Agency,
    staff: Staff,
    role: Role,
    confirm: Annotated[str, typer.Option(help="The case's id once more.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Deletes what she told, and asks every holder to do the same. It cannot be undone."""
    check_choices([confirm], [case], "--confirm")
    path = f"/v1/cases/{case}/erasures"
    answer = Person(agency, staff, role, data).ask("POST", path, {"duty": duty}).json()
    show(answer, [f"Case {answer['id']} was erased at {answer['erased_at']}."], as_json=as_json)
    say(f"Each holder is asked to erase its copy; {command('status', data)} names who is late.")
