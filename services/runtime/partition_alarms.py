"""What stands over a partition until an operator has looked: it stopped, or its reader lost something.

Rows outlive the process. `concert readers` lists and ends them through each service's internal port.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from services.runtime.alarms import Alarm
from services.runtime.database import Database
from services.runtime.logs import log
from services.runtime.offsets import Partition
from services.runtime.refusals import NothingStands
from services.runtime.transaction import Transaction

STOPPED: Final = "partition_stopped"
UNREADABLE: Final = "records_unreadable"
_RAISE: Final = """
INSERT INTO partition_alarm (grp, topic, part, rule, reason) VALUES (:grp, :topic, :part, :rule, :reason)
ON CONFLICT (grp, topic, part, rule) WHERE ended_at IS NULL DO NOTHING"""
_STANDING: Final = """
SELECT topic, part, rule, reason, since FROM partition_alarm WHERE grp = :grp AND ended_at IS NULL
ORDER BY topic, part, rule"""
_END: Final = """
UPDATE partition_alarm SET ended_at = clock_timestamp(), ended_for = :why
WHERE grp = :grp AND topic = :topic AND part = :part AND ended_at IS NULL RETURNING rule"""


@dataclass(frozen=True, slots=True)
class PartitionAlarm:
    """One rule that stands over one partition, and the code of what made it fire."""

    partition: Partition
    rule: str
    reason: str
    since: datetime

    def alarm(self) -> Alarm:
        """As probes show it."""
        topic, part = self.partition
        return Alarm(self.rule, f"{topic}/{part}: {self.reason}", self.since)


async def raise_alarm(
    transaction: Transaction, group: str, partition: Partition, rule: str, reason: str
) -> None:
    """Let a rule stand over a partition; it stands once, since it first fired."""
    await transaction.run(
        _RAISE, grp=group, topic=partition[0], part=partition[1], rule=rule, reason=str(reason)
    )


async def standing(transaction: Transaction, group: str) -> list[PartitionAlarm]:
    """All that stands over this group's partitions."""
    return [
        PartitionAlarm((row.topic, row.part), row.rule, row.reason, row.since)
        for row in await transaction.rows(_STANDING, grp=group)
    ]


PartitionNumber = Annotated[int, Field(ge=0, lt=1 << 31)]


class Resumption(BaseModel):
    """Why an operator lets a partition go on."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]


def routes(database: Database, group: str) -> APIRouter:
    """The operator's door to a service's readers."""
    router = APIRouter(prefix="/v1/readers")

    @router.get("")
    async def list_alarms() -> Mapping[str, list[Alarm]]:
        """What stands over this service's partitions."""
        async with database.transaction() as transaction:
            return {"data": [one.alarm() for one in await standing(transaction, group)]}

    @router.post("/{topic}/{part}/resumption")
    async def resume(topic: str, part: PartitionNumber, why: Resumption) -> Mapping[str, list[str]]:
        """End what stands over a partition; its reader looks every few seconds, and goes on."""
        async with database.transaction() as transaction:
            rows = await transaction.rows(_END, grp=group, topic=topic, part=part, why=why.reason)
        if not rows:
            raise NothingStands
        log().warning("partition_resumed", topic=topic, partition=part, group=group)
        return {"ended": sorted(row.rule for row in rows)}

    return router
