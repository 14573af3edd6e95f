"""Where a reader goes on: pure decisions over what the database remembers and what the brokers hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.runtime.transaction import Transaction

_REMEMBERED: Final = """
SELECT topic, part, topic_id, next FROM consumer_offset
WHERE grp = :grp AND (topic, part) IN
      (SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[])))"""
_PLACE: Final = """
INSERT INTO consumer_offset (grp, topic, part, topic_id, next)
SELECT :grp, * FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:ids AS uuid[]),
                           CAST(:nexts AS bigint[]))
ON CONFLICT (grp, topic, part) DO UPDATE SET topic_id = excluded.topic_id, next = excluded.next"""
_MOVE: Final = """
UPDATE consumer_offset o SET next = m.next
FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:ids AS uuid[]),
            CAST(:expected AS bigint[]), CAST(:nexts AS bigint[])) AS m (topic, part, id, expected, next)
WHERE o.grp = :grp AND o.topic = m.topic AND o.part = m.part AND o.topic_id = m.id AND o.next = m.expected
RETURNING o.topic, o.part"""

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Log:
    """One partition as the brokers hold it: the topic's own id and the first and next offset."""

    topic_id: UUID
    beginning: int
    end: int


@dataclass(frozen=True, slots=True)
class Stored:
    """One partition as the database remembers it."""

    topic_id: UUID
    next: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where to read on; `alarm` names what must be told, `changed` that the row must be written first."""

    next: int
    changed: bool
    alarm: str | None = None
    reason: str = ""


def position(stored: Stored | None, log: Log) -> Position:
    """Say where a reader goes on at assignment (the five rows of the design's table)."""
    if stored is None:
        return Position(log.beginning, changed=True)
    if stored.topic_id != log.topic_id:
        # A topic made anew under the old name: an old offset would skip its first events without a word.
        alarm = "topic_made_anew"
    elif stored.next > log.end:
        alarm = "brokers_lost_records"
    elif stored.next < log.beginning:
        alarm = "retention_overtook_reader"
    else:
        return Position(stored.next, changed=False)
    return Position(log.beginning, changed=True, alarm=alarm, reason=f"from {stored.next} to {log.beginning}")


async def remembered(
    transaction: Transaction, group: str, partitions: list[Partition]
) -> dict[Partition, Stored]:
    """What the database remembers of these partitions."""
    rows = await transaction.rows(
        _REMEMBERED,
        grp=group,
        topics=[topic for topic, _ in partitions],
        parts=[part for _, part in partitions],
    )
    return {(row.topic, row.part): Stored(row.topic_id, row.next) for row in rows}


async def place(
    transaction: Transaction, group: str, positions: dict[Partition, Position], logs: dict[Partition, Log]
) -> None:
    """Write the positions that changed."""
    changed = [partition for partition, found in positions.items() if found.changed]
    await transaction.run(
        _PLACE,
        grp=group,
        topics=[topic for topic, _ in changed],
        parts=[part for _, part in changed],
        ids=[logs[partition].topic_id for partition in changed],
        nexts=[positions[partition].next for partition in changed],
    )


async def move(
    transaction: Transaction,
    group: str,
    topic_ids: Mapping[str, UUID],
    expected: Mapping[Partition, int],
    following: Mapping[Partition, int],
) -> set[Partition]:
    """Move all offsets by one compare-and-set; gives the partitions that another process has moved."""
    rows = await transaction.rows(
        _MOVE,
        grp=group,
        topics=[topic for topic, _ in following],
        parts=[part for _, part in following],
        ids=[topic_ids[topic] for topic, _ in following],
        expected=[expected[partition] for partition in following],
        nexts=list(following.values()),
    )
    return following.keys() - {(row.topic, row.part) for row in rows}
