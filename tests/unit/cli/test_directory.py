"""The import of a directory: in batches that a service takes, and with a report whatever becomes of one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from schemas.events.directory import TITLE_CHARACTERS_MAX
from services.cli.directory import (
    BATCH_ENTRIES_MAX,
    ImportReport,
    NotTaken,
    import_directory,
)
from services.runtime.errors import Unavailable
from services.runtime.requests import REQUEST_BYTES_MAX
from tests.support.clock import NOON


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


async def imported(folder: Path, arbiter: Arbiter, count: int, name: str = "Refuge") -> ImportReport:
    house = {"id": "7f3d9a52-0c11-4f0e-9d35-1f2f0a6c1001", "name": name}
    rows: Sequence[dict[str, Any]] = [
        {"id": f"7f3d9a52-0c11-4f0e-9d35-{number:012}", "name": name, "status": "active"}
        for number in range(count)
    ]
    (folder / "page.json").write_text(json.dumps([row | {"organization": house} for row in rows]))
    async with httpx2.AsyncClient(
        transport=httpx2.MockTransport(arbiter), base_url="http://arbiter"
    ) as client:
        return await import_directory(folder / "page.json", client, NOON)


async def test_a_batch_of_the_longest_entries_fits_into_a_request(tmp_path: Path) -> None:
    arbiter, longest = Arbiter(), "refuge".ljust(TITLE_CHARACTERS_MAX, "\U0001f3e0")

    await imported(tmp_path, arbiter, BATCH_ENTRIES_MAX + 1, longest)

    assert arbiter.batches == [BATCH_ENTRIES_MAX, 1]


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
    assert (report.taken, report.as_json()["reasons"]["batch: not_taken"]) == (
        BATCH_ENTRIES_MAX - 1,
        2 * BATCH_ENTRIES_MAX,
    )
