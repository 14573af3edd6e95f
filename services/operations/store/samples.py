"""What was seen of streams and services, in PostgreSQL."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from services.operations.domain.streams import StreamStanding
from services.runtime.service_report import ServiceReport
from services.runtime.transaction import Row, Transaction, columns

HISTORY_SECONDS: Final = 600
"""How long one point of the history is: a day has 144."""
Place = tuple[str, int, UUID, int]
"""Topic, partition, the topic's own id, and an offset there."""

_KEEP_ENDS: Final = """
INSERT INTO log_sample (topic, part, topic_id, next, at)
SELECT *, CAST(:at AS timestamptz) FROM unnest(
  CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:ids AS uuid[]), CAST(:nexts AS bigint[]))
ON CONFLICT (topic, part, topic_id, next) DO NOTHING"""
_BEYOND: Final = """
SELECT k.topic, k.part, k.topic_id, k.next, l.at FROM unnest(
  CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:ids AS uuid[]), CAST(:nexts AS bigint[])
) AS k (topic, part, topic_id, next)
CROSS JOIN LATERAL (
  SELECT at FROM log_sample s WHERE s.topic = k.topic AND s.part = k.part AND s.topic_id = k.topic_id
    AND s.next > k.next ORDER BY s.next LIMIT 1) AS l"""
_KEEP: Final = """
INSERT INTO stream_sample
  (at, grp, topic, verdict, rule, lag_seconds, lag_messages, commit_age_seconds, members)
SELECT CAST(:at AS timestamptz), * FROM unnest(
  CAST(:group AS text[]), CAST(:topic AS text[]), CAST(:verdict AS text[]), CAST(:rule AS text[]),
  CAST(:lag_seconds AS real[]), CAST(:lag_messages AS bigint[]), CAST(:commit_age_seconds AS real[]),
  CAST(:members AS int[]))
ON CONFLICT (at, grp, topic) DO NOTHING"""
_HISTORY: Final = """
SELECT grp, topic,
  to_timestamp(floor(extract(epoch FROM at) / :seconds) * :seconds) AS began, max(lag_seconds) AS lag_seconds
FROM stream_sample WHERE at > CAST(:since AS timestamptz) GROUP BY 1, 2, 3 ORDER BY 3"""
_KEEP_ANSWER: Final = """
INSERT INTO service_answer AS s (service, process, answered_at, started_at, answer)
VALUES (:service, :process, :at, :started_at, :answer)
ON CONFLICT (service, process) DO UPDATE SET answered_at = excluded.answered_at, answer = excluded.answer,
  started_at = excluded.started_at,
  restarts = s.restarts + CASE WHEN s.started_at = excluded.started_at THEN 0 ELSE 1 END"""
_ANSWERS: Final = "SELECT service, process, answered_at, restarts, answer FROM service_answer ORDER BY 1, 2"


class SampleStore:
    """Samples of a day, and the last answer of each process."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def keep_ends(self, ends: Collection[Place], at: datetime) -> None:
        """Where logs end now, where that is new."""
        await self._transaction.run(_KEEP_ENDS, at=at, **_arrays(ends))

    async def first_beyond(self, places: Collection[Place]) -> Mapping[Place, datetime]:
        """When a log was first seen to reach beyond each place; those at the end are left out."""
        rows = await self._transaction.rows(_BEYOND, **_arrays(places))
        return {(row.topic, row.part, row.topic_id, row.next): row.at for row in rows}

    async def keep(self, standings: Iterable[StreamStanding], at: datetime) -> None:
        """One sample of every stream."""
        names = (
            "group",
            "topic",
            "verdict",
            "rule",
            "lag_seconds",
            "lag_messages",
            "commit_age_seconds",
            "members",
        )
        await self._transaction.run(_KEEP, at=at, **columns(standings, *names))

    async def history(self, since: datetime) -> Sequence[Row]:
        """The longest lag of every stream in each ten minutes."""
        return await self._transaction.rows(_HISTORY, since=since, seconds=HISTORY_SECONDS)

    async def keep_answer(self, report: ServiceReport, at: datetime) -> None:
        """What a process answered; another start than before is a restart."""
        await self._transaction.run(
            _KEEP_ANSWER,
            service=report.service,
            process=report.process,
            started_at=report.started_at,
            answer=report.model_dump_json(),
            at=at,
        )

    async def answers(self) -> Sequence[Row]:
        """Each process's last answer."""
        return await self._transaction.rows(_ANSWERS)


def _arrays(places: Collection[Place]) -> dict[str, list[object]]:
    topics, parts, ids, nexts = [list(one) for one in zip(*places, strict=True)] if places else ([],) * 4
    return {"topics": topics, "parts": parts, "ids": ids, "nexts": nexts}
