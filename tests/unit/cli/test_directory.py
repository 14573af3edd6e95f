"""The import of a directory: in batches that a service takes, and with a report whatever becomes of one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from services.cli.directory import (
    BATCH_BYTES_MAX,
    BATCH_ENTRIES_MAX,
    ImportReport,
    NotTaken,
    batches,
    import_directory,
)
from services.cli.directory_source import DirectoryRow
from services.runtime.errors import Unavailable
from services.runtime.requests import REQUEST_BYTES_MAX
from tests.support.builders import an_entry
from tests.support.clock import NOON


def a_row(number: int, title: str = "Day clinic") -> DirectoryRow:
    return DirectoryRow("page.json", number, an_entry(title=title, organization_title=title))


class Arbiter:
    """Answers each batch with the next of these states, and otherwise takes every entry but the last."""

    def __init__(self, *states: int) -> None:
        self._states = list(states)
        self.batches: list[int] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        assert len(request.content) <= REQUEST_BYTES_MAX
        entries = json.loads(request.content)["entries"]
        self.batches.append(len(entries))
        state = self._states.pop(0) if self._states else 200
        refused = [{"row": len(entries), "field": "desk", "code": "invalid"}]
        told = {"taken": len(entries) - 1, "changed": 0, "refused": refused}
        return httpx2.Response(state, json=told)


async def imported(folder: Path, arbiter: Arbiter, count: int) -> ImportReport:
    house = {"id": "7f3d9a52-0c11-4f0e-9d35-1f2f0a6c1001", "name": "Harbour House"}
    rows: Sequence[dict[str, Any]] = [
        {"id": f"7f3d9a52-0c11-4f0e-9d35-{number:012}", "name": "Refuge", "status": "active"}
        for number in range(count)
    ]
    (folder / "page.json").write_text(json.dumps([row | {"organization": house} for row in rows]))
    async with httpx2.AsyncClient(
        transport=httpx2.MockTransport(arbiter), base_url="http://arbiter"
    ) as client:
        return await import_directory(folder / "page.json", client, NOON)


def test_batches_end_at_a_number_of_entries_and_at_a_number_of_bytes() -> None:
    few = list(batches(a_row(number) for number in range(2 * BATCH_ENTRIES_MAX + 1)))
    wide = list(batches(a_row(number, "\u6e2f" * 300) for number in range(2 * BATCH_ENTRIES_MAX)))

    assert [len(batch) for batch in few] == [BATCH_ENTRIES_MAX, BATCH_ENTRIES_MAX, 1]
    assert len(wide) > len(few), "a title of 300 signs has 900 bytes"
    assert [row.row for batch in wide for row in batch] == list(range(2 * BATCH_ENTRIES_MAX))
    assert (
        max(sum(len(row.entry.model_dump_json().encode()) for row in batch) for batch in wide)
        < BATCH_BYTES_MAX
    )


async def test_a_batch_that_is_not_taken_is_reported_by_row_and_holds_up_no_other(
    tmp_path: Path,
) -> None:
    report = await imported(tmp_path, Arbiter(500), BATCH_ENTRIES_MAX + 3)

    assert (report.read, report.taken) == (BATCH_ENTRIES_MAX + 3, 2)
    assert isinstance(report.failure, NotTaken)
    assert report.as_json()["reasons"] == {"batch: not_taken": BATCH_ENTRIES_MAX, "desk: invalid": 1}
    assert report.refused[-1].row == BATCH_ENTRIES_MAX + 3, "the place in the file, not in the batch"


async def test_behind_a_batch_that_nobody_answers_the_rest_is_reported_and_not_sent(tmp_path: Path) -> None:
    arbiter = Arbiter(200, 503)

    report = await imported(tmp_path, arbiter, 3 * BATCH_ENTRIES_MAX)

    assert arbiter.batches == [BATCH_ENTRIES_MAX] * 2
    assert isinstance(report.failure, Unavailable)
    assert (report.taken, report.as_json()["reasons"]["batch: not_taken"]) == (199, 2 * BATCH_ENTRIES_MAX)
