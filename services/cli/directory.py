"""`concert directory import PATH`: reads a service directory and hands it to the arbiter, as the operator."""

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from schemas.directory import ServiceRegistered
from services.cli.installed import DataDirectory, installed, operator_client
from services.cli.talk import AsJson, say, show_json
from services.referrals.domain.directory_source import (
    Read,
    RefusedRow,
    from_hsds,
    from_legal_aid,
    is_legal_aid,
    without_repeats,
)
from services.runtime.clock import SystemClock
from services.runtime.errors import Refused, Unavailable

EXIT_CODES: Final = {"not_taken": 1, "not_authorised": 3, "nothing_to_read": 4}
"""How a refusal ends the command; whatever else can go wrong is told by the command's main."""
BATCH_ENTRIES: Final = 200

app = typer.Typer(help="The service directory.", no_args_is_help=True)


class NothingToRead(Refused):
    """The path leads to no directory that this command reads."""

    code = "nothing_to_read"
    sentence = "name a file or folder of HSDS 3.0 JSON, or a folder of the legal-aid layout"


class NotTheOperator(Refused):
    """The arbiter does not take this certificate."""

    code = "not_authorised"
    sentence = "the arbiter takes the directory from the operator's certificate alone"


class NotTaken(Refused):
    """The arbiter answered something else than a count."""

    code = "not_taken"
    sentence = "the arbiter did not take a batch; see its log"


@dataclass(slots=True)
class Report:
    """What became of a directory."""

    read: int = 0
    taken: int = 0
    changed: int = 0
    refused: list[RefusedRow] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report for machines: counts by field and code, and each row; never a value."""
        reasons = Counter(f"{one.field}: {one.code}" for one in self.refused)
        rows = [
            {"source": one.source, "row": one.row, "field": one.field, "code": one.code}
            for one in self.refused
        ]
        return {
            "read": self.read,
            "taken": self.taken,
            "changed": self.changed,
            "refused": len(self.refused),
            "reasons": dict(sorted(reasons.items())),
            "rows": rows,
        }


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="HSDS 3.0 JSON (file or folder), or a legal-aid folder.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Take a directory of services: says what was taken, what was refused, and why."""
    try:
        report = asyncio.run(_import(path, data))
    except Refused as refused:
        say(f"concert: {refused.sentence}")
        raise typer.Exit(EXIT_CODES[refused.code]) from None
    if as_json:
        show_json(report.as_json())
    else:
        _show(report)


async def import_directory(path: Path, client: httpx2.AsyncClient, at: datetime) -> Report:
    """Read a directory and hand it in, batch by batch; what was handed in before stays taken."""
    report = Report()
    entries = []
    for one in without_repeats(read_directory(path, at)):
        report.read += 1
        if isinstance(one, RefusedRow):
            report.refused.append(one)
        else:
            entries.append(one)
    waiting = iter(entries)
    while batch := list(islice(waiting, BATCH_ENTRIES)):
        await _hand_in(batch, client, report)
    return report


def read_directory(path: Path, at: datetime) -> Iterator[Read]:
    """Everything that a path holds, in a layout that is known; raises NothingToRead."""
    folder = path if path.is_dir() else path.parent
    if path.name == "services.csv" or (path.is_dir() and (path / "services.csv").is_file()):
        yield from _legal_aid(folder, at)
        return
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise NothingToRead
    for file in files:
        yield from _hsds(file, at)


def _hsds(file: Path, at: datetime) -> Iterator[Read]:
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        yield RefusedRow(file.name, 0, "document", "not_json")
    else:
        yield from from_hsds(file.name, document, at)


def _legal_aid(folder: Path, at: datetime) -> Iterator[Read]:
    try:
        services, organizations = _table(folder / "services.csv"), _table(folder / "organizations.csv")
    except (OSError, ValueError, csv.Error):
        raise NothingToRead from None
    if not services or not is_legal_aid(list(services[0])):
        raise NothingToRead
    yield from from_legal_aid(services, organizations, at)


def _table(file: Path) -> Sequence[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


async def _import(path: Path, data: Path | None) -> Report:
    async with operator_client(installed(data), "referrals") as client:
        return await import_directory(path, client, SystemClock().now())


async def _hand_in(batch: Sequence[ServiceRegistered], client: httpx2.AsyncClient, report: Report) -> None:
    try:
        answer = await client.post(
            "/v1/directory", json={"entries": [entry.model_dump(mode="json") for entry in batch]}
        )
    except httpx2.HTTPError as error:
        raise Unavailable("the arbiter does not answer; try again") from error
    if answer.status_code in (401, 403, 404):
        raise NotTheOperator
    if answer.status_code == 503:
        raise Unavailable("the arbiter is not ready; try again")
    if answer.status_code != 200:
        raise NotTaken
    content = answer.json()
    report.taken += content["taken"]
    report.changed += content["changed"]
    report.refused += [
        RefusedRow("arbiter", one["row"], one["field"], one["code"]) for one in content["refused"]
    ]


def _show(report: Report) -> None:
    print(f"{report.taken} services taken, {report.changed} of them new or changed.")
    if report.refused:
        print(f"{len(report.refused)} refused:")
        for reason, count in report.as_json()["reasons"].items():
            print(f"{count:7}  {reason}")
