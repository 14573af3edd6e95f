"""Which events are new, in their turn, and unchanged: each takes effect once, and in order within its key."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from schemas.wire.cloudevents import LetterReason
from schemas.wire.envelope import ReadEvent
from services.runtime.transaction import Transaction, columns
from services.runtime.writer_epoch import base_of

IDS_KEPT: Final = timedelta(days=45)
"""So long the ids of events are known, which is longer than a copy can come again."""
_LAST: Final = """
SELECT topic, source, key, s.last, h.epoch, h.since
FROM unnest(CAST(:topics AS text[]), CAST(:sources AS text[]), CAST(:keys AS bytea[]))
     AS k (topic, source, key)
LEFT JOIN sequence_in s USING (topic, source, key) LEFT JOIN epoch_heard h USING (source)"""
_HEARD: Final = """
INSERT INTO epoch_heard AS h (source, epoch, since)
SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:epochs AS bigint[]), CAST(:since AS timestamptz[]))
ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, since = excluded.since
WHERE h.epoch < excluded.epoch"""
_NOT_NEEDED: Final = """
SELECT d.source, d.event_id FROM dead_letter d
JOIN unnest(CAST(:source AS text[]), CAST(:id AS text[])) AS k (source, event_id) USING (source, event_id)
WHERE d.state = 'discarded'"""
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
Heard = Mapping[str, tuple[int, datetime]]
"""Source → the highest epoch in which it was heard, where that is not the first, and since when."""


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
    TAKEN = "taken"
    """A new name under a number that another event had: its writer's database was an older one."""
    OLDER = "older"
    """Written after its writer went on in a higher epoch, by whoever still writes in the lower one."""

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
    Turn.TAKEN: LetterReason.NUMBER_TAKEN,
    Turn.OLDER: LetterReason.OLDER_EPOCH,
}


async def take(
    transaction: Transaction,
    events: Sequence[ReadEvent[Any]],
    across_gaps: Collection[str],
    now: datetime,
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
    last = {(row.topic, row.source, row.key.decode()): row.last for row in rows if row.last is not None}
    before = {row.source: (row.epoch, row.since) for row in rows if row.epoch}
    heard = heard_of(events, before, now)
    turns, following = sort_out(events, last, across_gaps, heard)
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
        seen = await _not_needed(transaction, old, seen)
    if heard != before:
        sources = sorted(heard)
        epochs, since = zip(*(heard[one] for one in sources), strict=True)
        await transaction.run(_HEARD, sources=sources, epochs=epochs, since=since)
    following = {} if has_failed else {one: following.get(one, 0) for one in map(stream_of, events)}
    return without_repeats(events, turns, new, seen, now - IDS_KEPT), following


def name_of(event: ReadEvent[Any]) -> Name:
    """What makes an event one event."""
    return (event.source, event.id)


def stream_of(event: ReadEvent[Any]) -> Stream:
    """The sequence that an event is numbered in."""
    return (event.topic.title, event.source, event.key)


def heard_of(events: Sequence[ReadEvent[Any]], before: Heard, now: datetime) -> Heard:
    """The highest epoch of each source, with these events."""
    heard = dict(before)
    for event in events:
        if event.writer_epoch > (heard[event.source][0] if event.source in heard else 1):
            heard[event.source] = event.writer_epoch, now
    return heard


def sort_out(
    events: Sequence[ReadEvent[Any]],
    last: Mapping[Stream, int],
    across_gaps: Collection[str],
    heard: Heard = MappingProxyType({}),
) -> tuple[list[Turn], dict[Stream, int]]:
    """Where each event's number puts it, and how far each stream is then; compacted topics have holes.

    A stream may go on with the first number of a later epoch: what its writer had said between is lost to it.
    """
    turns, last = [], dict(last)
    for event in events:
        stream, number = stream_of(event), event.sequence
        known = last.get(stream, 0)
        may_jump = event.topic.compacted or number == base_of(event.writer_epoch) + 1
        if number <= known:
            turns.append(Turn.REPEATED if event.topic.compacted and number < known else Turn.TAKEN)
        elif _is_older(event, heard):
            turns.append(Turn.OLDER)
        elif number == known + 1 or may_jump:
            turns.append(Turn.NEXT)
            last[stream] = number
        else:
            turns.append(Turn.AHEAD if event.body.type in across_gaps else Turn.WAITING)
    return turns, last


def _is_older(event: ReadEvent[Any], heard: Heard) -> bool:
    """Whether it was written after its writer had gone on; what was written before may come late."""
    epoch, since = heard.get(event.source, (1, event.at))
    return event.writer_epoch < epoch and event.at > since


def without_repeats(
    events: Sequence[ReadEvent[Any]],
    turns: Sequence[Turn],
    new: Collection[Name],
    seen: Mapping[Name, bytes],
    forgotten_before: datetime,
) -> list[Turn]:
    """The turns again, once it is known which names are new; each name takes effect once.

    A taken number under a name that is not known is no repeat, unless it is older than names are kept.
    """
    once, found = set(new), []
    for event, turn in zip(events, turns, strict=True):
        name = name_of(event)
        is_unknown = name not in seen and event.at >= forgotten_before
        if turn.is_fresh and name in once:
            once.discard(name)
            found.append(turn)
        elif turn is not Turn.WAITING and seen.get(name, event.digest) != event.digest:
            found.append(Turn.CHANGED)
        elif turn in (Turn.WAITING, Turn.AHEAD):
            found.append(Turn.WAITING)
        else:
            found.append(turn if turn in (Turn.TAKEN, Turn.OLDER) and is_unknown else Turn.REPEATED)
    return found


async def _not_needed(
    transaction: Transaction, old: Sequence[ReadEvent[Any]], seen: Mapping[Name, bytes]
) -> dict[Name, bytes]:
    """Names that were seen, with those that a person passed over: they never got into the inbox."""
    unseen = {name_of(event): event for event in old if name_of(event) not in seen}
    if not unseen:
        return dict(seen)
    rows = await transaction.rows(_NOT_NEEDED, **columns(unseen.values(), "source", "id"))
    return {**seen, **{name: unseen[name].digest for name in map(tuple, rows)}}


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
