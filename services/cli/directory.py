"""`concert directory import PATH`: reads a service directory and hands it to the arbiter, as the operator."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer
from pydantic_core import to_json

from deploy.local.founding import operator_client
from services.cli.directory_source import DirectoryRow, RefusedRow, SourcePage, read_directory
from services.cli.installed import JSON, DataDirectory, installed
from services.cli.talk import FAILED, AsJson, show
from services.runtime.clock import SystemClock
from services.runtime.errors import Refused, Unavailable, define_refusal

BATCH_ENTRIES_MAX: Final = 50
"""An entry has 4 KiB at most, and a service takes 256 KiB in one request."""
NOT_UTF_8: Final = "Rows with windows_1252 are not in UTF-8: save the file as UTF-8 and import it again."

app = typer.Typer(help="The service directory.", no_args_is_help=True)


NotAuthorised: Final = define_refusal(
    __name__, "not_authorised", "the arbiter takes the directory from the operator's certificate alone"
)
NotTaken: Final = define_refusal(__name__, "not_taken", "the arbiter did not take a batch; see its log")


@dataclass(slots=True)
class ImportReport:
    """What became of a directory."""

    read: int = 0
    taken: int = 0
    changed: int = 0
    refused: list[RefusedRow] = field(default_factory=list)
    pages: list[SourcePage] = field(default_factory=list)
    """Documents that are one of several."""
    failure: Refused | Unavailable | None = None
    """Why some batch was not taken."""

    def as_json(self) -> dict[str, Any]:
        """The report for machines: counts by field and code, and each row; never a value."""
        reasons = Counter(f"{one.field}: {one.code}" for one in self.refused)
        return {
            "read": self.read,
            "taken": self.taken,
            "changed": self.changed,
            "refused": len(self.refused),
            "reasons": dict(sorted(reasons.items())),
            "rows": [one._asdict() for one in self.refused],
            "pages": [one._asdict() for one in self.pages],
        }


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="HSDS 3.0 JSON (file or folder), or a legal-aid folder.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Take a directory of services: says what was taken, what was refused, and why."""
    report = asyncio.run(_import(path, data))
    show(report.as_json(), _lines(report), as_json=as_json)
    if report.failure:
        raise report.failure
    if not report.taken:
        raise typer.Exit(FAILED)


async def import_directory(path: Path, client: httpx2.AsyncClient, at: datetime) -> ImportReport:
    """Read a directory and hand it in, batch by batch; what was handed in before stays taken."""
    report = ImportReport()
    found = list(read_directory(path, at))
    report.pages += [one for one in found if isinstance(one, SourcePage)]
    report.refused += [one for one in found if isinstance(one, RefusedRow)]
    rows = [one for one in found if isinstance(one, DirectoryRow)]
    report.read = len(rows) + len(report.refused)
    for first in range(0, len(rows), BATCH_ENTRIES_MAX):
        batch = rows[first : first + BATCH_ENTRIES_MAX]
        try:
            if isinstance(report.failure, Unavailable):  # the rest need not wait for that as well
                raise report.failure
            await _hand_in(batch, client, report)
        except (NotTaken, Unavailable) as failure:
            report.failure = failure
            report.refused += [RefusedRow(row.source, row.row, "batch", "not_taken") for row in batch]
    return report


async def _import(path: Path, data: Path | None) -> ImportReport:
    async with operator_client(installed(data), "referrals") as client:
        return await import_directory(path, client, SystemClock().now())


async def _hand_in(batch: Sequence[DirectoryRow], client: httpx2.AsyncClient, report: ImportReport) -> None:
    content = to_json({"entries": [row.entry.model_dump(mode="json") for row in batch]})
    try:
        answer = await client.post("/v1/directory", content=content, headers=JSON)
    except httpx2.HTTPError as error:
        raise Unavailable("the arbiter does not answer; try again") from error
    if answer.status_code in (401, 403, 404):
        raise NotAuthorised
    if answer.status_code == 503:
        raise Unavailable("the arbiter is not ready; try again")
    if answer.status_code != 200:
        raise NotTaken
    told = answer.json()
    report.taken += told["taken"]
    report.changed += told["changed"]
    for one in told["refused"]:
        sent = batch[one["row"] - 1]
        report.refused.append(RefusedRow(sent.source, sent.row, one["field"], one["code"]))


def _lines(report: ImportReport) -> Iterator[str]:
    yield f"{report.taken} services taken, {report.changed} of them new or changed."
    if report.refused:
        yield f"{len(report.refused)} refused:"
        for reason, count in report.as_json()["reasons"].items():
            yield f"{count:7}  {reason}"
    if any(one.code == "windows_1252" for one in report.refused):
        yield NOT_UTF_8
    for one in report.pages:
        yield f"{one.source} is page {one.page} of {one.of}; the others are imported like it."
