"""Records that a reader could not use stay with it, with their original bytes, reason and attempts."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from schemas.wire.cloudevents import PartialEvent
from services.runtime.ids import new_id
from services.runtime.inbox import Stream
from services.runtime.logs import log
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.records import Headers, Record
from services.runtime.transaction import Transaction

_KEEP: Final = """
INSERT INTO dead_letter (id, grp, topic, topic_id, part, "offset", record_at, key, headers, value, is_whole,
                         source, event_id, sequence, type, dataschema, reason, path, error_class)
VALUES (:id, :grp, :topic, :topic_id, :part, :offset, :record_at, :key, CAST(:headers AS jsonb), :value,
        :is_whole, :source, :event_id, :sequence, :type, :dataschema, :reason, :path, :error_class)
ON CONFLICT (grp, topic, topic_id, part, "offset")
DO UPDATE SET attempts = dead_letter.attempts + 1, last_at = now()"""

_COUNT: Final = """
SELECT topic, part AS partition, reason, count(*) AS count, min(first_at) AS since
FROM dead_letter WHERE state = 'waiting' GROUP BY topic, part, reason ORDER BY topic, part, reason"""
_DISCARD: Final = """
WITH gone AS (
  UPDATE dead_letter SET state = 'discarded' WHERE state = 'waiting' AND reason = :reason
  RETURNING id, topic, source, key, sequence),
past AS (
  INSERT INTO sequence_in (topic, source, key, last)
  SELECT t.title, g.source, g.key, max(g.sequence)
  FROM gone g
  JOIN unnest(CAST(:names AS text[]), CAST(:titles AS text[])) AS t (name, title) ON t.name = g.topic
  LEFT JOIN sequence_in s ON s.topic = t.title AND s.source = g.source AND s.key = g.key
  WHERE g.source IS NOT NULL AND g.key IS NOT NULL
    AND (:reason = 'sequence_gap' OR g.sequence = coalesce(s.last, 0) + 1)
  GROUP BY t.title, g.source, g.key HAVING max(g.sequence) IS NOT NULL
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
  attempts = attempts + 1, last_at = now()
WHERE id = :id"""
READY_MAX: Final = 500
"""How many letters one transaction takes up again."""

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


async def keep(
    transaction: Transaction, group: str, letters: Sequence[DeadLetter], topic_ids: dict[str, UUID]
) -> None:
    """Keep letters in the transaction that moves their offsets; the same record again counts an attempt."""
    if not letters:
        return
    rows = [_row(letter) | {"grp": group, "topic_id": topic_ids[letter.record.topic]} for letter in letters]
    await transaction.run_each(_KEEP, rows)
    transaction.after_commit.append(lambda: _tell(group, letters))


async def count_waiting(transaction: Transaction) -> list[dict[str, Any]]:
    """How many letters wait for a person to look, and since when, by partition and reason."""
    return [dict(row) for row in await transaction.rows(_COUNT)]


async def discard(
    transaction: Transaction, reason: str, titles: Mapping[str, str]
) -> tuple[int, Mapping[Stream, int]]:
    """Say of all that wait with this reason that nobody needs them; their bytes stay.

    What waits behind a letter that is not needed goes on. `titles` are those of the topics, by name.
    Gives the number of letters, and how far streams are now.
    """
    first, *past = await transaction.rows(_DISCARD, reason=reason, **_named(titles))
    return first.gone, {(row.title, row.source, row.key.decode()): row.last for row in past}


async def ready(transaction: Transaction, group: str, titles: Mapping[str, str]) -> Sequence[WaitingLetter]:
    """Letters of which nothing earlier is missing any more, and those that were settled by a resend."""
    rows = await transaction.rows(_READY, grp=group, rows_max=READY_MAX, **_named(titles))
    return [
        WaitingLetter(row.id, Record(row.topic, row.part, row.offset, key=row.key, value=row.value,
                                     headers=_headers(row.headers)))
        for row in rows
    ]  # fmt: skip


async def settle(transaction: Transaction, letters: Sequence[tuple[str, DeadLetter | None]]) -> None:
    """Say of letters that they were used, their bytes gone; or why they cannot be used now either."""
    await transaction.run(_REDRIVEN, ids=[name for name, again in letters if again is None])
    failed = [
        {"id": name, "reason": str(again.reason), "path": again.path, "error_class": again.error_class}
        for name, again in letters
        if again
    ]
    if failed:
        await transaction.run_each(_FAILED, failed)


def _row(letter: DeadLetter) -> dict[str, Any]:
    record, known = letter.record, letter.known
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
        "source": _text(known.source),
        "event_id": _text(known.event_id),
        "sequence": known.sequence,
        "type": _text(known.type),
        "dataschema": _text(known.dataschema),
        "reason": str(letter.reason),
        "path": letter.path,
        "error_class": letter.error_class,
    }


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
