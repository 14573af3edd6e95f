"""An older database is noticed: by the file beside it; its neighbours give back what it lost."""

from pathlib import Path

import pytest

from services.runtime import writer_epoch
from services.runtime.ids import new_id
from services.runtime.writer_epoch import WriterEpoch, settle, settled
from tests.integration.test_receipts import written
from tests.support.platform import Space


class Killed(BaseException):
    """As a kill: nothing after it is done."""


@pytest.mark.parametrize(
    ("filed", "stored", "is_filed", "expected"),
    [
        (None, 1, False, 1),  # new, or from before there were epochs
        (1, 1, False, 1),  # killed between file and database, the first time
        (3, 3, True, 3),
        (None, 3, True, 4),  # the file is gone
        (2, 3, True, 4),  # the file is an older one
        (4, 3, True, 5),  # the database is
    ],
)
def test_the_epoch_goes_up_where_file_and_database_disagree(
    filed: int | None, stored: int, is_filed: bool, expected: int
) -> None:
    assert settled(filed, stored, is_filed=is_filed) == expected


async def test_an_older_database_raises_the_epoch_also_after_a_kill_and_its_events_are_numbered_above(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, database, key = tmp_path / "health", space.database("health"), new_id("referral")

    assert await settle(database, file) == WriterEpoch(1)
    await written(space, [key])
    file.write_text("4\n")  # a restore has raised it; the database is of before

    def die(place: str) -> None:
        if place == "epoch.filed":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writer_epoch, "crash_point", die)
        with pytest.raises(Killed):
            await settle(database, file)
    assert await settle(database, file) == WriterEpoch(6, is_restoring=True, was_raised=True)
    assert await settle(database, file) == WriterEpoch(6, is_restoring=True)
    assert file.read_text() == "6\n"

    await written(space, [key])
    async with space.transaction("health") as transaction:
        rows = await transaction.rows("SELECT sequence, value FROM outbox ORDER BY id")
    assert [(row.sequence, b'"writerepoch":"6"' in row.value) for row in rows] == [
        (1, False),
        (5_000_001, True),
    ]
    await database.close()
