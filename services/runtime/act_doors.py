"""The doors of operators' acts, for `operations` alone: a dry run first, then the act by order of a plan."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter

from services.runtime import dead_letters, partition_alarms, refusals
from services.runtime.acts import ActCounts, Rehearsal
from services.runtime.alarms import Alarm
from services.runtime.batches import Batches
from services.runtime.database import Database
from services.runtime.letter_acts import LetterActs
from services.runtime.log_ends import LogEnds
from services.runtime.offset_reset import OffsetReset

DryRun = Callable[..., Awaitable[Rehearsal]]
Deed = Callable[..., Awaitable[ActCounts]]


def sender_doors(log_ends: LogEnds) -> APIRouter:
    """The door to what a service has sent."""
    return _doors({"refill": (log_ends.rehearse, log_ends.refill_by_order)})


def reader_doors(letters: LetterActs, offset_reset: OffsetReset) -> APIRouter:
    """The doors to a service's readers."""
    return _doors(
        {
            "redrive": (letters.rehearse, letters.redrive),
            "discard": (letters.rehearse, letters.discard),
            "resume": (letters.look, letters.resume),
            "reset": (offset_reset.rehearse, offset_reset.reset),
        }
    )


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


def _doors(acts: Mapping[str, tuple[DryRun, Deed]]) -> APIRouter:
    """Of each act its dry run, and the act itself; each says by its signature what it takes."""
    router = APIRouter(prefix="/v1/acts")
    for act, (rehearse, perform) in acts.items():
        router.add_api_route(f"/{act}/rehearsal", rehearse, methods=["POST"])
        router.add_api_route(f"/{act}", perform, methods=["POST"])
    return router
