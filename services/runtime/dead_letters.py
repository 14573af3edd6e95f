"""Records that a reader could not use stay with it, with their original bytes, reason and attempts."""

import base64
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from schemas.wire.cloudevents import LetterReason, PartialEvent
from services.runtime.acts import LetterChoice
from services.runtime.ids import new_id
from services.runtime.inbox import Stream
from services.runtime.logs import log
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.offsets import Partition
from services.runtime.records import Headers, Record
from services.runtime.transaction import Row, Transaction

_KEEP: Final = """
INSERT INTO dead_letter (id, grp, topic, topic_id, part, "offset", record_at, key, headers, value, is_whole,
                         source, event_id, sequence, type, dataschema, reason, path, error_class)
VALUES (:id, :grp, :topic, :topic_id, :part, :offset, :record_at, :key, CAST(:headers AS jsonb), :value,
        :is_whole, :source, :event_id, :sequence, :type, :dataschema, :reason, :path, :error_class)
ON CONFLICT (grp, topic, topic_id, part, "offset")
DO UPDATE SET attempts = dead_letter.attempts + 1, last_at = now()"""

_CHOSEN: Final = """
  state = 'waiting' AND reason = :code AND topic = coalesce(CAST(:topic AS text), topic)
  AND id = coalesce(CAST(:id AS text), id) AND (CAST(:type AS text) IS NULL OR type = :type)"""
"""What is meant by a `LetterChoice`."""
_COUNT: Final = """
SELECT topic, reason AS code, CASE WHEN type = ANY(CAST(:types AS text[])) THEN type END AS type,
       count(*) AS count, min(first_at) AS since, (array_agg(id ORDER BY first_at, id))[1] AS oldest
FROM dead_letter WHERE state = 'waiting' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_SHOW: Final = """
SELECT id, state, topic, part AS partition, "offset", reason AS code, path, error_class,
       CASE WHEN type = ANY(CAST(:types AS text[])) THEN type END AS type, sequence,
       octet_length(value) AS bytes, is_whole, attempts, record_at, first_at, last_at
FROM dead_letter WHERE id = :id"""
_CHOOSE: Final = f"""
SELECT id FROM dead_letter WHERE {_CHOSEN}
ORDER BY min(attempts) OVER (
  PARTITION BY topic, CASE WHEN sequence IS NULL OR key IS NULL THEN convert_to(id, 'UTF8') ELSE key END),
  topic, key, sequence, part, "offset"
LIMIT :rows_max"""  # noqa: S608  constants
_WAITING: Final = """
SELECT d.id, d.topic, d.part, d."offset", d.key, d.headers, d.value
FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS c (id, place) JOIN dead_letter d USING (id)
WHERE d.state = 'waiting' AND d.is_whole AND d.topic = ANY(CAST(:names AS text[])) ORDER BY c.place"""
_CROWDED: Final = """
SELECT k.topic, k.part FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[])) AS k (topic, part)
WHERE EXISTS (
  SELECT FROM dead_letter d
  WHERE d.grp = :grp AND d.topic = k.topic AND d.part = k.part AND d.state = 'waiting'
  OFFSET :waiting_max)"""
_LEFT: Final = """
SELECT reason AS code, count(*) AS letters FROM dead_letter
WHERE id = ANY(CAST(:ids AS text[])) AND state = 'waiting' GROUP BY 1 ORDER BY 1"""
_DISCARD: Final = """
WITH gone AS (
  UPDATE dead_letter SET state = 'discarded', value = NULL, last_at = now()
  WHERE id = ANY(CAST(:ids AS text[])) AND state = 'waiting'
  RETURNING id, topic, source, key, sequence, reason),
named AS (
  SELECT t.title, g.* FROM gone g
  JOIN unnest(CAST(:names AS text[]), CAST(:titles AS text[])) AS t (name, title) ON t.name = g.topic
  WHERE g.key IS NOT NULL),
known AS (
  SELECT n.title, n.source, n.key, n.sequence AS last FROM named n
  LEFT JOIN sequence_in s ON s.topic = n.title AND s.source = n.source AND s.key = n.key
  WHERE n.source IS NOT NULL AND (n.reason = 'sequence_gap' OR n.sequence = coalesce(s.last, 0) + 1)
  UNION ALL  -- whose number could not be read: to just below the oldest that waits behind it
  SELECT n.title, w.source, n.key, min(w.sequence) - 1 FROM named n
  JOIN dead_letter w ON w.topic = n.topic AND w.key = n.key AND w.source = coalesce(n.source, w.source)
    AND w.state = 'waiting' AND w.reason = 'sequence_gap'
  WHERE n.sequence IS NULL GROUP BY n.title, w.source, n.key),
past AS (
  INSERT INTO sequence_in (topic, source, key, last)
  SELECT title, source, key, max(last) FROM known
  GROUP BY title, source, key HAVING max(last) IS NOT NULL
  ON CONFLICT (topic, source, key) DO UPDATE SET last = greatest(sequence_in.last, excluded.last)
  RETURNING topic, source, key, last)
SELECT NULL AS title, NULL AS source, NULL AS key, 0 AS last, count(*) AS gone FROM gone
UNION ALL SELECT topic, source, key, last, 0 FROM past"""
_READY: Final = """
SELECT d.id, d.topic, d.part, d."offset", d.key, d.headers, d.value
FROM dead_letter d
JOIN unnest(CAST(:names AS text[]), CAST(:titles AS text[])) AS t (name, title) ON t.name = d.topic
LEFT JOIN sequence_in s ON s.topic = t.title AND s.source = d.source AND s.key = d.key
WHERE d.grp = :grp AND d.state = 'waiting' AND d.is_whole
  AND d.reason IN ('sequence_gap', 'handler')
  AND d.sequence <= coalesce(s.last, 0) + CASE d.reason WHEN 'handler' THEN 0 ELSE 1 END
ORDER BY d.topic, d.key, d.sequence LIMIT :rows_max"""
_REDRIVEN: Final = """
UPDATE dead_letter SET state = 'redriven', value = NULL, last_at = now()
WHERE id = ANY(CAST(:ids AS text[]))"""
_FAILED: Final = """
UPDATE dead_letter SET reason = :reason, path = :path, error_class = :error_class,
  source = coalesce(:source, source), event_id = coalesce(:event_id, event_id),
  sequence = coalesce(:sequence, sequence), type = coalesce(:type, type),
  dataschema = coalesce(:dataschema, dataschema), attempts = attempts + 1, last_at = now()
WHERE id = :id"""
READY_MAX: Final = 500
"""How many letters one transaction takes up again."""
WAITING_MAX: Final = 20_000
"""How many letters of a partition may wait in all: they stay until a person has looked."""
NOTHING_KNOWN: Final = PartialEvent()
LINES_OF_A_BATCH_MAX: Final = 20
"""How many letters of one transaction get a line in the log; the number of all is told besides."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that could not be used; `record` is the brokers' own, never printed."""

    record: Record
    reason: str
    path: str | None = None
    error_class: str | None = None
    known: PartialEvent = NOTHING_KNOWN

    def __repr__(self) -> str:
        return f"DeadLetter({self.reason})"


@dataclass(frozen=True, slots=True)
class WaitingLetter:
    """A letter whose turn has come, with its record as the brokers gave it."""

    id: str
    record: Record

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return *self.record.place, self.record.offset


def headers_text(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """A record's headers as JSON pairs of name and base64: duplicates survive."""
    return json.dumps([[_text(name), base64.b64encode(content or b"").decode()] for name, content in headers])


def contradicting(letters: Iterable[DeadLetter]) -> dict[Partition, str]:
    """Partitions in which a writer says something new under an old number, or in an old epoch."""
    reasons = (LetterReason.NUMBER_TAKEN, LetterReason.OLDER_EPOCH)
    return {one.record.place: one.reason for one in letters if one.reason in reasons}


async def keep(
    transaction: Transaction, group: str, letters: Sequence[DeadLetter], topic_ids: dict[str, UUID]
) -> None:
    """Keep letters in the transaction that moves their offsets; the same record again counts an attempt."""
    if not letters:
        return
    rows = [_row(letter) | {"grp": group, "topic_id": topic_ids[letter.record.topic]} for letter in letters]
    await transaction.run_each(_KEEP, rows)
    transaction.after_commit.append(lambda: _tell(group, letters))


async def crowded(
    transaction: Transaction, group: str, letters: Sequence[DeadLetter]
) -> dict[Partition, str]:
    """Partitions of these letters in which too many wait by now, and why the last of them does."""
    reasons = {one.record.place: one.reason for one in letters}
    if not reasons:
        return {}
    topics, parts = map(list, zip(*reasons, strict=True))
    rows = await transaction.rows(_CROWDED, topics=topics, parts=parts, grp=group, waiting_max=WAITING_MAX)
    return {(row.topic, row.part): reasons[row.topic, row.part] for row in rows}


async def count_waiting(transaction: Transaction, types: Sequence[str]) -> list[dict[str, Any]]:
    """How many letters wait for a person to look, and since when; of types, those that are ours are shown."""
    return [dict(row) for row in await transaction.rows(_COUNT, types=types)]


async def show(transaction: Transaction, name: str, types: Sequence[str]) -> dict[str, Any] | None:
    """All that may be shown of one letter: no key, no header, no value."""
    rows = await transaction.rows(_SHOW, id=name, types=types)
    return dict(rows[0]) if rows else None


async def choose(transaction: Transaction, chosen: LetterChoice, *, rows_max: int) -> list[str]:
    """The ids of the letters that are meant, key by key in the order of their numbers; tried least first."""
    rows = await transaction.rows(_CHOOSE, rows_max=rows_max, **dict(chosen))
    return [row.id for row in rows]


async def waiting(
    transaction: Transaction, ids: Sequence[str], topics: Collection[str]
) -> list[WaitingLetter]:
    """Those of these letters that still wait, are kept whole and of these topics, in the same order."""
    return [_letter(row) for row in await transaction.rows(_WAITING, ids=ids, names=list(topics))]


async def count_left(transaction: Transaction, ids: Sequence[str]) -> dict[str, int]:
    """How many of these letters wait, by code."""
    return {row.code: row.letters for row in await transaction.rows(_LEFT, ids=ids)}


async def discard(
    transaction: Transaction, ids: Sequence[str], titles: Mapping[str, str]
) -> tuple[int, Mapping[Stream, int]]:
    """Say of these letters that nobody needs them; their bytes go.

    What waits behind a letter that is not needed goes on. `titles` are those of the topics, by name.
    Gives the number of letters, and how far streams are now.
    """
    first, *past = await transaction.rows(_DISCARD, ids=ids, **_named(titles))
    return first.gone, {(row.title, row.source, row.key.decode()): row.last for row in past}


async def ready(transaction: Transaction, group: str, titles: Mapping[str, str]) -> Sequence[WaitingLetter]:
    """Letters of which nothing earlier is missing any more, and those that were settled by a resend."""
    rows = await transaction.rows(_READY, grp=group, rows_max=READY_MAX, **_named(titles))
    return [_letter(row) for row in rows]


async def settle(transaction: Transaction, letters: Sequence[tuple[str, DeadLetter | None]]) -> None:
    """Say of letters that they were used, their bytes gone; or why they cannot be used now either."""
    await transaction.run(_REDRIVEN, ids=[name for name, again in letters if again is None])
    failed = [
        {"id": name, "reason": str(again.reason), "path": again.path, "error_class": again.error_class}
        | _known(again)
        for name, again in letters
        if again
    ]
    if failed:
        await transaction.run_each(_FAILED, failed)


def _row(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    return {
        "id": new_id("dead_letter"),
        "topic": record.topic,
        "part": record.partition,
        "offset": record.offset,
        "record_at": record_time(record.timestamp),
        "key": record.key,
        "headers": headers_text(record.headers),
        "value": record.value,
        "is_whole": record.is_whole,
        "reason": str(letter.reason),
        "path": letter.path,
        "error_class": letter.error_class,
        **_known(letter),
    }


def _known(letter: DeadLetter) -> dict[str, Any]:
    known = letter.known
    return {
        "source": _text(known.source),
        "event_id": _text(known.event_id),
        "sequence": known.sequence,
        "type": _text(known.type),
        "dataschema": _text(known.dataschema),
    }


def _letter(row: Row) -> WaitingLetter:
    headers = _headers(row.headers)
    record = Record(row.topic, row.part, row.offset, key=row.key, value=row.value, headers=headers)
    return WaitingLetter(row.id, record)


def _tell(group: str, letters: Sequence[DeadLetter]) -> None:
    """Count the letters, and name where the first of them lie."""
    for letter in letters:
        DEAD_LETTERS.labels(group, str(letter.reason)).inc()
    for letter in letters[:LINES_OF_A_BATCH_MAX]:
        place = {name: getattr(letter.record, name) for name in ("topic", "partition", "offset")}
        log().warning("dead_letter", group=group, error_code=str(letter.reason), **place)
    if len(letters) > LINES_OF_A_BATCH_MAX:
        log().warning("dead_letters", group=group, count=len(letters))


def record_time(timestamp: int) -> datetime:
    """When the record was written, as its writer says; a time that no calendar has becomes the epoch."""
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def _named(titles: Mapping[str, str]) -> dict[str, list[str]]:
    return {"names": list(titles), "titles": list(titles.values())}


def _headers(text: str) -> Headers:
    return tuple((name, base64.b64decode(content)) for name, content in json.loads(text))


def _text(content: str | None) -> str | None:
    """PostgreSQL's text holds no U+0000, which a stranger's record may."""
    return None if content is None else content.replace("\x00", "\ufffd")
