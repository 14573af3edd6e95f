"""Which events are new, in their turn, and unchanged: each takes effect once, and in order within its key."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.wire.envelope import ReadEvent, Reason
from services.runtime.transaction import Transaction

_LAST: Final = """
SELECT s.topic, s.source, s.key, s.last FROM sequence_in s
JOIN unnest(CAST(:topics AS text[]), CAST(:sources AS text[]), CAST(:keys AS bytea[]))
     AS k (topic, source, key) USING (topic, source, key)"""
_SEEN: Final = """
SELECT i.source, i.id, i.digest FROM inbox i
JOIN unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS k (source, id) USING (source, id)"""
_TAKE: Final = """
INSERT INTO inbox (source, id, digest)
SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[]), CAST(:digests AS bytea[]))
ON CONFLICT DO NOTHING RETURNING source, id"""
_ADVANCE: Final = """
INSERT INTO sequence_in (topic, source, key, last)
SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:sources AS text[]), CAST(:keys AS bytea[]),
                     CAST(:lasts AS bigint[]))
ON CONFLICT (topic, source, key) DO UPDATE SET last = excluded.last
WHERE sequence_in.last < excluded.last"""

Stream = tuple[str, str, str]
"""Topic, source and key: what one sequence counts in."""
Name = tuple[str, str]
"""Source and id: what makes an event one event."""


@dataclass(slots=True)
class Turn:
    """The events of one batch, sorted out by their numbers."""

    next: list[ReadEvent] = field(default_factory=list)
    """In their turn."""
    ahead: list[ReadEvent] = field(default_factory=list)
    """Not in their turn, but acted on all the same: she withdrew."""
    repeated: list[ReadEvent] = field(default_factory=list)
    waiting: list[ReadEvent] = field(default_factory=list)
    """Behind a hole in their key's sequence."""
    last: dict[Stream, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch leaves to do: fresh events to handle, others to keep as dead letters with their reason."""

    fresh: list[ReadEvent]
    unusable: list[tuple[ReadEvent, Reason]]
    duplicates: int


def stream_of(event: ReadEvent) -> Stream:
    """The sequence that an event is numbered in."""
    return (event.topic.title, event.source, event.key)


def sort_out(events: Sequence[ReadEvent], last: Mapping[Stream, int], across_gaps: Collection[str]) -> Turn:
    """Put each event where its number says; on compacted topics holes are normal."""
    turn = Turn(last=dict(last))
    for event in events:
        stream = stream_of(event)
        expected = turn.last.get(stream, 0) + 1
        if event.sequence == expected or (event.sequence > expected and event.topic.compacted):
            turn.next.append(event)
            turn.last[stream] = event.sequence
        elif event.sequence < expected:
            turn.repeated.append(event)
        elif event.body.type in across_gaps:
            turn.ahead.append(event)
        else:
            turn.waiting.append(event)
    return turn


def taken(turn: Turn, new: Collection[Name], seen: Mapping[Name, bytes]) -> Taken:
    """Tell fresh events from repeats; the same name with other content is refused."""
    fresh, unusable, duplicates, once = (
        [],
        [(event, Reason.SEQUENCE_GAP) for event in turn.waiting],
        0,
        set(new),
    )
    for event in (*turn.next, *turn.ahead):
        name = (event.source, event.id)
        if name in once:
            once.discard(name)
            fresh.append(event)
        elif seen.get(name, event.digest) != event.digest:
            unusable.append((event, Reason.CHANGED_DUPLICATE))
        else:
            duplicates += 1
    unusable += [(event, Reason.SEQUENCE_GAP) for event in turn.ahead]
    for event in turn.repeated:
        if seen.get((event.source, event.id), event.digest) != event.digest:
            unusable.append((event, Reason.CHANGED_DUPLICATE))
        else:
            duplicates += 1
    return Taken(fresh, unusable, duplicates)


async def take(transaction: Transaction, events: Sequence[ReadEvent], across_gaps: Collection[str]) -> Taken:
    """Decide which events are new and remember them; commits with the effects or not at all."""
    if not events:
        return Taken([], [], 0)
    turn = sort_out(events, await _last(transaction, {stream_of(event) for event in events}), across_gaps)
    candidates = [*turn.next, *turn.ahead]
    new = await _remember(transaction, candidates)
    old = turn.repeated + [event for event in candidates if (event.source, event.id) not in new]
    seen = await _seen(transaction, old) if old or len(new) < len(candidates) else {}
    moved = {stream_of(event): turn.last[stream_of(event)] for event in turn.next}
    await _advance(transaction, moved)
    return taken(turn, new, seen)


async def _last(transaction: Transaction, streams: Collection[Stream]) -> dict[Stream, int]:
    rows = await transaction.rows(
        _LAST,
        topics=[topic for topic, _, _ in streams],
        sources=[source for _, source, _ in streams],
        keys=[key.encode() for _, _, key in streams],
    )
    return {(row.topic, row.source, bytes(row.key).decode()): row.last for row in rows}


async def _remember(transaction: Transaction, events: Sequence[ReadEvent]) -> set[Name]:
    if not events:
        return set()
    rows = await transaction.rows(
        _TAKE,
        sources=[event.source for event in events],
        ids=[event.id for event in events],
        digests=[event.digest for event in events],
    )
    return {(row.source, row.id) for row in rows}


async def _seen(transaction: Transaction, events: Sequence[ReadEvent]) -> dict[Name, bytes]:
    rows = await transaction.rows(
        _SEEN, sources=[event.source for event in events], ids=[event.id for event in events]
    )
    return {(row.source, row.id): bytes(row.digest) for row in rows}


async def _advance(transaction: Transaction, moved: Mapping[Stream, int]) -> None:
    if not moved:
        return
    streams = sorted(moved)
    await transaction.run(
        _ADVANCE,
        topics=[topic for topic, _, _ in streams],
        sources=[source for _, source, _ in streams],
        keys=[key.encode() for _, _, key in streams],
        lasts=[moved[stream] for stream in streams],
    )
