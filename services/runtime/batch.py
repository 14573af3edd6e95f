"""What is to do with a batch of records: pure decisions, which `consumer` carries out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schemas.wire.cloudevents import Known
from schemas.wire.envelope import ReadEvent, Reason, Unusable, read
from schemas.wire.topic import Topic
from services.runtime.dead_letters import DeadLetter
from services.runtime.errors import Invalid
from services.runtime.identity import Identity
from services.runtime.offsets import Move, Partition
from services.runtime.subscription import Received, Subscription


@dataclass(frozen=True, slots=True)
class Effects:
    """What became of a batch: records that were applied, and those that became letters; repeats neither."""

    applied: Sequence[Any]
    letters: Sequence[DeadLetter]


def outcomes(records: Sequence[Any], effects: Effects) -> dict[Partition, list[str | None]]:
    """Each partition's outcomes in order: the reason of a letter, None for a record that was applied."""
    reasons: dict[int, str | None] = dict.fromkeys(map(id, effects.applied))
    reasons |= {id(letter.record): letter.reason for letter in effects.letters}
    found: dict[Partition, list[str | None]] = {}
    for record in records:
        if id(record) in reasons:
            found.setdefault((record.topic, record.partition), []).append(reasons[id(record)])
    return found


def unreadable(effects: Effects) -> dict[Partition, str]:
    """Partitions in which the brokers hold something that cannot be read, and of what kind."""
    letters = [one for one in effects.letters if one.record.reason not in (None, Reason.OVERSIZE)]
    return {(letter.record.topic, letter.record.partition): letter.reason for letter in letters}


def read_record(record: Any, topic: Topic, identity: Identity) -> ReadEvent | DeadLetter:
    """Read one record; what can never be used becomes a dead letter."""
    if record.reason:
        return DeadLetter(record, record.reason, _place(record))
    try:
        return read(
            topic,
            record.headers,
            record.key,
            record.value,
            cell=identity.cell,
            mode=identity.mode,
        )
    except Unusable as unusable:
        return DeadLetter(record, unusable.reason, unusable.path, known=unusable.known)


def _place(record: Any) -> str | None:
    """Which offsets a letter stands for, where they are several."""
    several = record.first is not None and record.first < record.offset
    return f"offsets {record.first} to {record.offset}" if several else None


def received(event: ReadEvent) -> Received[Any]:
    """The event as a handler gets it."""
    return Received(
        event.id, event.service, event.topic, event.key, event.sequence, event.at, event.caused_by, event.body
    )


def known(event: ReadEvent) -> Known:
    """What a dead letter tells about an event that could be read."""
    return Known(event.source, event.id, event.sequence, event.type, event.dataschema)


def moves_of(
    records: Sequence[Any], expected: Mapping[Partition, int], ids: Mapping[str, UUID]
) -> dict[Partition, Move]:
    """How far a transaction over these records moves each partition's offset.

    Expected is the last *processed* position, never the first record's: compacted topics have holes.
    """
    last: dict[Partition, int] = {}
    for record in records:
        last[record.topic, record.partition] = record.offset + 1
    return {
        partition: Move(ids[partition[0]], expected[partition], following)
        for partition, following in last.items()
    }


def still_to_do(records: Sequence[Any], expected: Mapping[Partition, int]) -> Sequence[Any]:
    """Leave out what was processed before, and partitions that are not ours (any more)."""
    return [
        record
        for record in records
        if record.offset >= expected.get((record.topic, record.partition), 1 << 63)
    ]


def halves(records: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Cut a batch in two, in order, to find the record on which a handler fails."""
    middle = len(records) // 2
    return records[:middle], records[middle:]


def shares(
    fresh: Sequence[ReadEvent], subscriptions: Sequence[Subscription]
) -> Iterator[tuple[Subscription, list[Received[Any]]]]:
    """Each subscription with its events, in the table's order: what is in force before what rests on it."""
    for subscription in subscriptions:
        own = [received(event) for event in fresh if event.topic in subscription.topics]
        if own:
            yield subscription, own


def failed_on(record: Any, event: ReadEvent, failure: Exception) -> DeadLetter:
    """The letter of an event on which a handler failed."""
    reason = failure.reason if isinstance(failure, Invalid) else Reason.HANDLER
    path = failure.path if isinstance(failure, Invalid) else None
    return DeadLetter(record, reason, path, type(failure).__name__, known(event))
