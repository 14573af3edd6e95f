"""The doors of operators' acts, for `operations` alone: a dry run first, then the act by order of a plan."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from services.runtime import dead_letters, partition_alarms, refusals
from services.runtime.acts import (
    ActCounts,
    LetterChoice,
    LetterScope,
    OffsetChoice,
    OffsetScope,
    Ordered,
    PartitionChoice,
    RefillChoice,
    RefillScope,
    Rehearsal,
)
from services.runtime.alarms import Alarm
from services.runtime.batches import Batches
from services.runtime.database import Database
from services.runtime.letter_acts import LetterActs
from services.runtime.log_ends import LogEnds
from services.runtime.offset_reset import OffsetReset


def sender_doors(log_ends: LogEnds) -> APIRouter:
    """The door to what a service has sent."""
    router = APIRouter(prefix="/v1/acts")

    @router.post("/refill/rehearsal")
    async def rehearse_refill(chosen: RefillChoice) -> Rehearsal:
        """How many events would be sent again, by topic."""
        return await log_ends.rehearse(chosen)

    @router.post("/refill")
    async def refill(asked: Ordered[RefillScope]) -> ActCounts:
        """Send them again, under their old ids and with their bytes."""
        return await log_ends.refill_by_order(asked)

    return router


def letter_doors(database: Database, group: str, batches: Batches) -> APIRouter:
    """What there is to look at of a service's readers."""
    router = APIRouter(prefix="/v1")

    @router.get("/readers")
    async def list_alarms() -> Mapping[str, list[Alarm]]:
        """What stands over this service's partitions."""
        async with database.transaction() as transaction:
            standing = await partition_alarms.standing(transaction, group)
        return {"data": [alarm for _, alarm in standing]}

    @router.get("/dead-letters")
    async def list_letters() -> Mapping[str, list[dict[str, Any]]]:
        """What was set aside and waits for a person."""
        async with database.transaction() as transaction:
            return {"data": await dead_letters.count_waiting(transaction, batches.types)}

    @router.get("/dead-letters/{name}")
    async def show_letter(name: str) -> Mapping[str, Any]:
        """What is known of one record that was set aside; never its key or value."""
        async with database.transaction() as transaction:
            found = await dead_letters.show(transaction, name, batches.types)
        if found is None:
            raise refusals.NoSuchLetter
        return found

    return router


def reader_doors(letters: LetterActs, offset_reset: OffsetReset) -> APIRouter:
    """The doors to a service's readers."""
    router = APIRouter(prefix="/v1/acts")

    @router.post("/redrive/rehearsal")
    async def rehearse_redrive(chosen: LetterChoice) -> Rehearsal:
        """Which letters are meant, and how many could be read by now."""
        return await letters.rehearse(chosen)

    @router.post("/redrive")
    async def redrive(asked: Ordered[LetterScope]) -> ActCounts:
        """Try letters again, and what waits behind them."""
        return await letters.redrive(asked)

    @router.post("/discard/rehearsal")
    async def rehearse_discard(chosen: LetterChoice) -> Rehearsal:
        """Which letters are meant, and how many of them could be read by now."""
        return await letters.rehearse(chosen)

    @router.post("/discard")
    async def discard(asked: Ordered[LetterScope]) -> ActCounts:
        """Give up letters, if all of them still wait."""
        return await letters.discard(asked)

    @router.post("/resume/rehearsal")
    async def rehearse_resume(chosen: PartitionChoice) -> Rehearsal:
        """What stands over a partition."""
        return await letters.look(chosen)

    @router.post("/resume")
    async def resume(asked: Ordered[PartitionChoice]) -> ActCounts:
        """End what stands over a partition."""
        return await letters.resume(asked)

    @router.post("/reset/rehearsal")
    async def rehearse_reset(chosen: OffsetChoice) -> Rehearsal:
        """How many records would be read once more, or never."""
        return await offset_reset.rehearse(chosen)

    @router.post("/reset")
    async def reset(asked: Ordered[OffsetScope]) -> ActCounts:
        """Have the reader of a partition go on from another offset."""
        return await offset_reset.reset(asked)

    return router
