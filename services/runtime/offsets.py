"""Where a reader goes on: pure decisions over what the database remembers and what the brokers hold."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from services.runtime.transaction import Transaction

_STORED: Final = """
SELECT topic, part, topic_id, next, mark FROM consumer_offset
WHERE grp = :grp AND (topic, part) IN
      (SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[])))"""
_PLACE: Final = """
INSERT INTO consumer_offset (grp, topic, part, topic_id, next)
SELECT :grp, * FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:ids AS uuid[]),
                           CAST(:nexts AS bigint[]))
ON CONFLICT (grp, topic, part)
DO UPDATE SET topic_id = excluded.topic_id, next = excluded.next, mark = NULL,
              moved_at = clock_timestamp()"""
_MOVE: Final = """
UPDATE consumer_offset o SET next = m.next, mark = m.mark, moved_at = clock_timestamp()
FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:ids AS uuid[]), CAST(:expected AS bigint[]),
            CAST(:nexts AS bigint[]), CAST(:marks AS bigint[])) AS m (topic, part, id, expected, next, mark)
WHERE o.grp = :grp AND o.topic = m.topic AND o.part = m.part AND o.topic_id = m.id AND o.next = m.expected
RETURNING o.topic, o.part"""
_RESET: Final = """
UPDATE consumer_offset SET next = :following, mark = NULL
WHERE grp = :grp AND topic = :topic AND part = :part AND next = :expected RETURNING next"""

Partition = tuple[str, int]
Place = tuple[UUID, int]
"""Kafka's own id of the topic, and the next offset."""


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """One partition as the brokers hold it: the topic's own id and the first and next offset."""

    topic_id: UUID
    beginning: int
    end: int


@dataclass(frozen=True, slots=True)
class ReadingStart:
    """Where to read on; `alarm` names what must be told of a jump."""

    next: int
    alarm: str | None = None
    reason: str = ""


def start_of(stored: Place | None, log: PartitionLog, *, is_other: bool = False) -> ReadingStart:
    """Say where a reader goes on at assignment; it is another log where other records stand before."""
    if stored is None:
        return ReadingStart(log.beginning)
    topic_id, following = stored
    if topic_id != log.topic_id:
        # A topic made anew under the old name: an old offset would skip its first events without a word.
        alarm = "topic_made_anew"
    elif following > log.end or is_other:
        alarm = "brokers_lost_records"
    elif following < log.beginning:
        alarm = "retention_overtook_reader"
    else:
        return ReadingStart(following)
    return ReadingStart(log.beginning, alarm, f"from {following} to {log.beginning}")


async def stored_places(
    transaction: Transaction, group: str, partitions: list[Partition]
) -> tuple[dict[Partition, Place], dict[Partition, int]]:
    """What the database remembers of these partitions: the place, and the mark of the record before it."""
    rows = await transaction.rows(_STORED, grp=group, **_arrays(partitions))
    return (
        {(row.topic, row.part): (row.topic_id, row.next) for row in rows},
        {(row.topic, row.part): row.mark for row in rows if row.mark is not None},
    )


async def place(transaction: Transaction, group: str, places: Mapping[Partition, Place]) -> None:
    """Put partitions where they begin, or begin again."""
    await transaction.run(
        _PLACE,
        grp=group,
        **_arrays(places),
        ids=[topic_id for topic_id, _ in places.values()],
        nexts=[following for _, following in places.values()],
    )


async def move(
    transaction: Transaction,
    group: str,
    topic_ids: Mapping[str, UUID],
    expected: Mapping[Partition, int],
    following: Mapping[Partition, int],
    marks: Mapping[Partition, int | None],
) -> set[Partition]:
    """Move all offsets by one compare-and-set; gives the partitions that another process has moved."""
    rows = await transaction.rows(
        _MOVE,
        grp=group,
        **_arrays(following),
        ids=[topic_ids[topic] for topic, _ in following],
        expected=[expected[partition] for partition in following],
        nexts=list(following.values()),
        marks=[marks[one] for one in following],
    )
    return following.keys() - {(row.topic, row.part) for row in rows}


async def reset(
    transaction: Transaction, group: str, partition: Partition, expected: int, following: int
) -> bool:
    """Move one offset by hand, by compare-and-set; false where it is no longer where it was seen.

    No record before it is remembered: which one stands there, nobody has read yet.
    """
    topic, part = partition
    rows = await transaction.rows(
        _RESET, grp=group, topic=topic, part=part, expected=expected, following=following
    )
    return bool(rows)


def _arrays(partitions: Collection[Partition]) -> dict[str, list[Any]]:
    return {"topics": [topic for topic, _ in partitions], "parts": [part for _, part in partitions]}
