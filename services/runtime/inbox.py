"""Which events are new, in their turn, and unchanged: each takes effect once, and in order within its key."""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from schemas.wire.cloudevents import LetterReason
from schemas.wire.envelope import ReadEvent
from services.runtime.transaction import Transaction, columns

_LAST: Final = """
SELECT s.topic, s.source, s.key, s.last FROM sequence_in s
JOIN unnest(CAST(:topics AS text[]), CAST(:sources AS text[]), CAST(:keys AS bytea[]))
     AS k (topic, source, key) USING (topic, source, key)"""
_SEEN: Final = """
SELECT i.source, i.id, i.digest FROM inbox i
JOIN unnest(CAST(:source AS text[]), CAST(:id AS text[])) AS k (source, id) USING (source, id)"""
_TAKE: Final = """
WITH advanced AS (
  INSERT INTO sequence_in (topic, source, key, last)
  SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:sources AS text[]), CAST(:keys AS bytea[]),
                       CAST(:lasts AS bigint[]))
  ON CONFLICT (topic, source, key) DO UPDATE SET last = excluded.last
  WHERE sequence_in.last < excluded.last)
INSERT INTO inbox (source, id, digest)
SELECT * FROM unnest(CAST(:source AS text[]), CAST(:id AS text[]), CAST(:digest AS bytea[]))
ON CONFLICT DO NOTHING RETURNING source, id"""

Stream = tuple[str, str, str]
"""Topic, source and key: what one sequence counts in."""
Name = tuple[str, str]
"""Source and id: what makes an event one event."""


class Turn(Enum):
    """Where an event stands in the sequence of its key, and whether it was seen before."""

    NEXT = "next"
    AHEAD = "ahead"
    """Behind a hole, but acted on all the same: she withdrew. It waits besides."""
    WAITING = "waiting"
    """Behind a hole."""
    REPEATED = "repeated"
    CHANGED = "changed"
    """The same name with other content."""

    @property
    def is_fresh(self) -> bool:
        """Whether it is to take effect now."""
        return self in (Turn.NEXT, Turn.AHEAD)

    @property
    def reason(self) -> LetterReason | None:
        """Why it is kept as a dead letter, if it is."""
        return _REASONS.get(self)


_REASONS: Final = {
    Turn.AHEAD: LetterReason.SEQUENCE_GAP,
    Turn.WAITING: LetterReason.SEQUENCE_GAP,
    Turn.CHANGED: LetterReason.CHANGED_DUPLICATE,
}


async def take(
    transaction: Transaction,
    events: Sequence[ReadEvent[Any]],
    across_gaps: Collection[str],
    *,
    has_failed: bool = False,
) -> tuple[list[Turn], Mapping[Stream, int]]:
    """Decide which events are new and remember them, and how far each stream is then.

    Commits with the effects or not at all. What has failed is not remembered: it leaves a hole, behind which
    the later events of its key wait, and no stream is any further.
    """
    if not events:
        return [], {}
    rows = await transaction.rows(_LAST, **_arrays({stream_of(event) for event in events}))
    last = {(topic, source, key.decode()): number for topic, source, key, number in rows}
    turns, following = sort_out(events, last, across_gaps)
    candidates = [event for event, turn in zip(events, turns, strict=True) if turn.is_fresh]
    moved = {one: number for one, number in following.items() if number > last.get(one, 0)}
    if has_failed:
        new = {name_of(event) for event in candidates}
    else:
        new = await _remember(transaction, candidates, moved) if candidates else set()
    seen = {name_of(event): event.digest for event in reversed(candidates)}
    old = [
        event
        for event, turn in zip(events, turns, strict=True)
        if turn is not Turn.WAITING and name_of(event) not in new
    ]
    if old:
        rows = await transaction.rows(_SEEN, **columns(old, "source", "id"))
        seen |= {(source, name): digest for source, name, digest in rows}
    following = {} if has_failed else {one: following.get(one, 0) for one in map(stream_of, events)}
    return without_repeats(events, turns, new, seen), following


def name_of(event: ReadEvent[Any]) -> Name:
    """What makes an event one event."""
    return (event.source, event.id)


def stream_of(event: ReadEvent[Any]) -> Stream:
    """The sequence that an event is numbered in."""
    return (event.topic.title, event.source, event.key)


def sort_out(
    events: Sequence[ReadEvent[Any]], last: Mapping[Stream, int], across_gaps: Collection[str]
) -> tuple[list[Turn], dict[Stream, int]]:
    """Where each event's number puts it, and how far each stream is then; compacted topics have holes."""
    turns, last = [], dict(last)
    for event in events:
        stream = stream_of(event)
        expected = last.get(stream, 0) + 1
        if event.sequence == expected or (event.sequence > expected and event.topic.compacted):
            turns.append(Turn.NEXT)
            last[stream] = event.sequence
        elif event.sequence < expected:
            turns.append(Turn.REPEATED)
        else:
            turns.append(Turn.AHEAD if event.body.type in across_gaps else Turn.WAITING)
    return turns, last


def without_repeats(
    events: Sequence[ReadEvent[Any]],
    turns: Sequence[Turn],
    new: Collection[Name],
    seen: Mapping[Name, bytes],
) -> list[Turn]:
    """The turns again, once it is known which names are new; each name takes effect once."""
    once, found = set(new), []
    for event, turn in zip(events, turns, strict=True):
        name = name_of(event)
        if turn.is_fresh and name in once:
            once.discard(name)
            found.append(turn)
        elif turn is not Turn.WAITING and seen.get(name, event.digest) != event.digest:
            found.append(Turn.CHANGED)
        else:
            found.append(Turn.WAITING if turn in (Turn.WAITING, Turn.AHEAD) else Turn.REPEATED)
    return found


async def _remember(
    transaction: Transaction, events: Sequence[ReadEvent[Any]], moved: Mapping[Stream, int]
) -> set[Name]:
    """Keep the events that are new, and how far each stream is now; one order for all, so no deadlock."""
    streams = sorted(moved)
    arrays = _arrays(streams) | columns(events, "source", "id", "digest")
    rows = await transaction.rows(_TAKE, lasts=[moved[one] for one in streams], **arrays)
    return set(map(tuple, rows))


def _arrays(streams: Collection[Stream]) -> dict[str, list[Any]]:
    return {
        "topics": [topic for topic, _, _ in streams],
        "sources": [source for _, source, _ in streams],
        "keys": [key.encode() for _, _, key in streams],
    }
