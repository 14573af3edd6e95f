"""`concert logs`: what a part wrote, of all processes of a service, in the order of time."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from deploy.local.configuration import load
from deploy.local.log_files import lines_since
from services.cli.installed import DataDirectory
from services.cli.talk import NOT_FOUND, check_choices, command, fail
from services.runtime.clock import SystemClock

app = typer.Typer()

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGE: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_PROCESS: Final = re.compile(r"-[0-9]+$", re.ASCII)


def since_of(text: str, now: datetime) -> datetime:
    """An age such as `10m`, or an instant as in RFC 3339, as an instant in UTC."""
    if found := _AGE.fullmatch(text):
        return now - timedelta(**{UNITS[found[2]]: int(found[1])})
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        hint = "an age such as 90s, 10m, 2h or 1d, or an instant such as 2026-11-22T14:02:00Z"
        raise typer.BadParameter(hint, param_hint="--since") from None


@app.command("logs")
def logs(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="A part that `concert status` names.")],
    since: Annotated[str | None, typer.Option(help="An age, or an instant; else all.")] = None,
    data: DataDirectory = None,
) -> None:
    """Examples: `concert logs health`, `concert logs kafka --since 10m`, `concert logs health-2`.

    Shows the lines of a part, or of all processes of a service together; works also while nothing runs.
    Lines of services hold neither what a survivor told nor a value that was refused.
    """
    folder = load(data).logs
    found = sorted(path.stem for path in folder.glob("*.log"))
    if not found:
        fail(f"nothing has run here yet; start it with {command('up', data)}", NOT_FOUND)
    parts = [name for name in found if service in (name, _PROCESS.sub("", name))]
    if not parts:
        check_choices([service], found, "SERVICE")
    earliest = since_of(since, SystemClock().now()) if since else None
    for line in lines_since(folder, parts, earliest):
        print(line)
