"""What stands over a partition until an operator has looked: it stopped, or its reader lost something.

Rows outlive the process. `concert readers` lists and ends them through `act_doors`.
"""

from typing import Final

from services.runtime.alarms import Alarm
from services.runtime.offsets import Partition
from services.runtime.transaction import Transaction

STOPPED: Final = "partition_stopped"
UNREADABLE: Final = "records_unreadable"
WRITER_OLDER: Final = "writer_older"
_RAISE: Final = """
INSERT INTO partition_alarm (grp, topic, part, rule, reason) VALUES (:grp, :topic, :part, :rule, :reason)
ON CONFLICT (grp, topic, part, rule) WHERE ended_at IS NULL DO NOTHING"""
_STANDING: Final = """
SELECT topic, part, rule, reason, since FROM partition_alarm WHERE grp = :grp AND ended_at IS NULL
ORDER BY topic, part, rule"""
_END: Final = """
UPDATE partition_alarm SET ended_at = clock_timestamp(), ended_for = :why
WHERE grp = :grp AND topic = :topic AND part = :part AND ended_at IS NULL RETURNING rule"""


async def raise_alarm(
    transaction: Transaction, group: str, partition: Partition, rule: str, reason: str
) -> None:
    """Let a rule stand over a partition; it stands once, since it first fired."""
    await transaction.run(
        _RAISE, grp=group, topic=partition[0], part=partition[1], rule=rule, reason=str(reason)
    )


async def standing(transaction: Transaction, group: str) -> list[tuple[Partition, Alarm]]:
    """All that stands over this group's partitions, with the code of what made it fire."""
    return [
        ((topic, part), Alarm(rule, f"{topic}/{part}: {reason}", since))
        for topic, part, rule, reason, since in await transaction.rows(_STANDING, grp=group)
    ]


async def end_alarms(transaction: Transaction, group: str, partition: Partition, why: str) -> list[str]:
    """End what stands over a partition; gives the rules that stood there."""
    topic, part = partition
    return [row.rule for row in await transaction.rows(_END, grp=group, topic=topic, part=part, why=why)]
