"""The writer epoch: goes up when a service's database is not the newest that it ever was.

It stands in the database and in a small file beside it, so that an older copy of either is noticed.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.durable_files import write_durably
from services.runtime.logs import log

LOCK_CLASS: Final = 7_004
"""The advisory lock under which file and database are compared: processes of a service start together."""
EPOCH_MAX: Final = 2_000
"""The last that an envelope can name, with numbers that a receipt can; a file with another is damaged."""
FILE_BYTES_MAX: Final = 20
NUMBERS_OF_AN_EPOCH: Final = 1_000_000
"""In each epoch a key's numbers begin above so many for every epoch before, so that none is given twice."""

_LOCK: Final = "SELECT pg_advisory_xact_lock(:lock_class, 0)"
_FIND: Final = "SELECT epoch, is_filed, restoring FROM writer"
_KEEP: Final = """
UPDATE writer SET epoch = :epoch, is_filed = true, restoring = restoring OR :is_raised,
  state_at = CASE WHEN :is_raised THEN NULL ELSE state_at END"""


class EpochUnreadable(Exception):
    """The file of the epoch is there, and cannot be read or written: whether it is older is not known."""

    def __init__(self, file: Path, error: OSError) -> None:
        reason = error.strerror or "no reason given"
        super().__init__(f"{file} cannot be read or written ({reason}); it must be a file of this service")


@dataclass(frozen=True, slots=True)
class WriterEpoch:
    """What a process finds at its start."""

    number: int = 1
    is_restoring: bool = False
    """Whether the neighbours are to be asked before anybody is served."""
    was_raised: bool = False
    """Whether file and database disagreed."""


def base_of(epoch: int) -> int:
    """Above which number a key goes on in an epoch."""
    return (epoch - 1) * NUMBERS_OF_AN_EPOCH


def settled(filed: int | None, stored: int, *, is_filed: bool) -> int:
    """The epoch to go on with: that of both, or one above both where they disagree."""
    if filed == stored or (filed is None and not is_filed):
        return stored
    return max(filed or 0, stored) + 1


def read_epoch(file: Path) -> int | None:
    """The epoch that stands in the file; None where there is none, or no number in it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            text = opened.read(FILE_BYTES_MAX).strip()
    except FileNotFoundError:
        return None
    except OSError as error:  # which would be told as the database's
        raise EpochUnreadable(file, error) from None
    return int(text) if text.isdigit() and 0 < int(text) <= EPOCH_MAX else None


def write_epoch(file: Path, epoch: int) -> None:
    """Put the epoch into the file, so that it is there also after a power cut."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(file, f"{epoch}\n".encode())
    except OSError as error:
        raise EpochUnreadable(file, error) from None


async def settle(database: Database, file: Path | None) -> WriterEpoch:
    """Compare file and database at a start; where they disagree raise the epoch, the file first."""
    async with database.transaction() as transaction:
        await transaction.run(_LOCK, lock_class=LOCK_CLASS)
        [row] = await transaction.rows(_FIND)
        filed = read_epoch(file) if file else row.epoch
        epoch = settled(filed, row.epoch, is_filed=row.is_filed)
        was_raised = epoch != row.epoch
        if file and filed != epoch:
            write_epoch(file, epoch)
            crash_point("epoch.filed")  # the next start finds the file above the database, and raises both
        if file and (was_raised or not row.is_filed):
            await transaction.run(_KEEP, epoch=epoch, is_raised=was_raised)
    if was_raised:
        log().error("database_older", epoch=epoch)
    return WriterEpoch(epoch, row.restoring or was_raised, was_raised)
