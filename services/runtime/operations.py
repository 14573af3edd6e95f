"""What the operator may ask every service that reads: stopped partitions, and records that were set aside."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from schemas.wire.body import Instant
from services.runtime import dead_letters, operator_acts, partition_alarms, refusals
from services.runtime.alarms import Alarm
from services.runtime.batches import Batches
from services.runtime.database import Database
from services.runtime.dead_letters import LetterChoice
from services.runtime.log_ends import LogEnds
from services.runtime.logs import log

Reason = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
PartitionNumber = Annotated[int, Field(ge=0, lt=1 << 31)]


class Resumption(BaseModel):
    """Why an operator lets a partition go on."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class Redrive(LetterChoice):
    """Which letters are to be tried again, and why."""

    reason: Reason


class Discard(Redrive):
    """Which letters nobody needs, why, and how many the operator was shown."""

    count: Annotated[int, Field(ge=1, lt=1 << 31)]


class Refill(BaseModel):
    """What is to be sent again, and why; without a topic all, without a time all that is kept."""

    model_config = ConfigDict(extra="forbid")

    topic: Annotated[str, Field(max_length=249)] | None = None
    since: Instant | None = None
    reason: Reason


def refill_routes(log_ends: LogEnds) -> APIRouter:
    """The operator's door to what a service has sent."""
    router = APIRouter(prefix="/v1")

    @router.get("/refill")
    async def plan(
        topic: Annotated[str | None, Query(max_length=249)] = None, since: Instant | None = None
    ) -> Mapping[str, list[dict[str, Any]]]:
        """How many events would be sent again, by topic; nothing is changed."""
        return {"data": await log_ends.plan(topic, since)}

    @router.post("/refill")
    async def refill(asked: Refill) -> Mapping[str, dict[str, int]]:
        """Send them again, under their old ids and with their bytes."""
        return {"sent_again": await log_ends.refill_by_hand(asked.topic, asked.since, asked.reason)}

    return router


def routes(database: Database, group: str, batches: Batches) -> APIRouter:
    """The operator's door to a service's readers."""
    router = APIRouter(prefix="/v1")

    @router.get("/readers")
    async def list_alarms() -> Mapping[str, list[Alarm]]:
        """What stands over this service's partitions."""
        async with database.transaction() as transaction:
            standing = await partition_alarms.standing(transaction, group)
        return {"data": [alarm for _, alarm in standing]}

    @router.post("/readers/{topic}/{part}/resumption")
    async def resume(topic: str, part: PartitionNumber, why: Resumption) -> Mapping[str, list[str]]:
        """End what stands over a partition; its reader looks every few seconds, and goes on."""
        async with database.transaction() as transaction:
            ended = await partition_alarms.end_alarms(transaction, group, (topic, part), why.reason)
            if not ended:
                raise refusals.NothingStands
            await operator_acts.record(
                transaction, "reader_resume", {"alarms": len(ended)}, reason=why.reason
            )
        log().warning("partition_resumed", topic=topic, partition=part, group=group)
        return {"ended": sorted(ended)}

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

    @router.post("/dead-letters/rehearsal")
    async def rehearse(chosen: LetterChoice) -> Mapping[str, Any]:
        """How many letters are meant, and how many could be read by now; nothing is changed."""
        return await batches.rehearse(chosen)

    @router.post("/dead-letters/redrive")
    async def redrive(asked: Redrive) -> Mapping[str, int]:
        """Try letters again, and what waits behind them."""
        done = await batches.redrive_chosen(asked, asked.reason)
        log().warning("dead_letters_redriven", error_code=asked.code, count=done["redriven"], group=group)
        return done

    @router.post("/dead-letters/discard")
    async def discard(asked: Discard) -> Mapping[str, int]:
        """Discard letters, if they are as many as was said."""
        await batches.discard(asked, asked.count, asked.reason)
        log().warning("dead_letters_discarded", error_code=asked.code, count=asked.count, group=group)
        return {"discarded": asked.count}

    return router
