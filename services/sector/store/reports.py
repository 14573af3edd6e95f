"""What goes to the trail without a permit, kept until it has answered; and which permits are used up."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from pydantic import BaseModel

from schemas.events.access import (
    REPORTS_MAX,
    Access,
    Actor,
    EventReport,
    OutcomeReport,
    SubjectErasure,
    SubjectKey,
)
from services.runtime.alarms import Alarm
from services.runtime.transaction import Transaction
from services.sector.domain.packets import NumberedSubject
from services.sector.handlers.requests import RETENTION
from services.sector.handlers.work import Denials, ReportKind, Reports

KINDS: Final[Mapping[type[BaseModel], ReportKind]] = {
    SubjectKey: "subjects",
    NumberedSubject: "subjects",
    EventReport: "events",
    OutcomeReport: "outcomes",
    SubjectErasure: "erasures",
}

OUTCOMES_GATHER_SECONDS: Final = 1.0
"""How long an outcome waits for others: nobody asks the trail for it at once, as for a subject."""

_ADD: Final = """
INSERT INTO trail_outbox (kind, content) SELECT kind, content
FROM unnest(CAST(:kinds AS text[]), CAST(:contents AS text[])) WITH ORDINALITY AS row (kind, content, place)
ORDER BY place"""
_USE: Final = """
INSERT INTO permit_used (origin, index) VALUES (:origin, :index) ON CONFLICT DO NOTHING RETURNING index"""
_TELL_ANEW: Final = """
INSERT INTO trail_outbox (kind, content)
SELECT 'subjects', CAST(jsonb_build_object(
  'id', s.id, 'keyset', p.keyset, 'number', s.number, 'retention', CAST(:retention AS text)) AS text)
FROM packet p JOIN case_file c ON c.id = p.case_id CROSS JOIN LATERAL (
  SELECT c.subject AS id, 0 AS number UNION ALL
  SELECT v.referral, v.subject_number FROM referral_view v WHERE v.case_id = c.id) s
WHERE NOT EXISTS (SELECT FROM closure l WHERE l.id = p.keyset)
UNION ALL
SELECT 'erasures', CAST(jsonb_build_object('idem', encode(uuid_send(gen_random_uuid()), 'base64'),
  'subject', s.id, 'reason', 'case_erased') AS text)
FROM closure l JOIN packet p ON p.keyset = l.id JOIN case_file c ON c.id = p.case_id CROSS JOIN LATERAL (
  SELECT c.subject AS id UNION ALL SELECT v.referral FROM referral_view v WHERE v.case_id = c.id) s
WHERE l.done_at IS NOT NULL
UNION ALL
SELECT 'events', CAST(jsonb_build_object(
  'idem', encode(substr(sha256(convert_to(CAST(:log AS text) || chr(10) || l.n, 'UTF8')), 1, 16), 'base64'),
  'mode', 'late',
  'happened', to_char(l.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
  'access', jsonb_strip_nulls(jsonb_build_object('act', 'closure',
    'actor', jsonb_build_object('client', 'ledger'), 'agency', coalesce(c.agency, v.agency),
    'closure', jsonb_build_object('n', l.n, 'kind', l.kind, 'id', l.id)))) AS text)
FROM closure l LEFT JOIN packet p ON p.keyset = l.id LEFT JOIN case_file c ON c.id = p.case_id
LEFT JOIN consent_version v ON v.id || '/' || v.version = l.id"""
_WAITING: Final = f"""
SELECT k.kind, waiting.id, waiting.content
FROM unnest(CAST(:kinds AS text[]), CAST(:places AS bigint[])) AS k (kind, place)
CROSS JOIN LATERAL (
  SELECT id, content FROM trail_outbox WHERE kind = k.kind AND refused IS NULL AND id > k.place
  ORDER BY id LIMIT {REPORTS_MAX}) waiting
ORDER BY k.kind, waiting.id"""  # noqa: S608  a constant
_SETTLE: Final = "DELETE FROM trail_outbox WHERE id = ANY(CAST(:ids AS bigint[]))"
_FULL: Final = """
SELECT coalesce(max(id) - min(id) + 1, 0) >= :rows_max
  AND EXISTS (SELECT FROM trail_outbox ORDER BY id OFFSET :rows_max - 1 LIMIT 1) AS is_full
FROM trail_outbox"""
"""Ids are handed out once: it can hold no more rows than its ids span."""
_REFUSE: Final = """
UPDATE trail_outbox t SET refused = r.code
FROM unnest(CAST(:ids AS bigint[]), CAST(:codes AS text[])) AS r (id, code) WHERE t.id = r.id"""
_REFUSED: Final = """
SELECT refused AS code, count(*) AS reports, min(written_at) AS since
FROM (SELECT refused, written_at FROM trail_outbox WHERE refused IS NOT NULL LIMIT 10000) AS row
GROUP BY refused ORDER BY refused"""

DENIED_ACTORS_MAX: Final = 100
"""How many actors of one agency are counted apart at a time; those beyond are counted by their system."""
_COUNT: Final = """
UPDATE denial SET times = times + 1, until = greatest(until, :at) WHERE access = :access RETURNING times"""
_ACTORS: Final = "SELECT count(*) AS actors FROM denial WHERE agency = :agency"
_BEGIN: Final = """
INSERT INTO denial (access, agency, since, until) VALUES (:access, :agency, :at, :at)
ON CONFLICT (access) DO UPDATE SET times = denial.times + 1, until = greatest(denial.until, :at)
RETURNING times"""
_END: Final = f"""
DELETE FROM denial WHERE access IN (
  SELECT access FROM denial WHERE since <= :before ORDER BY since LIMIT {REPORTS_MAX} FOR UPDATE SKIP LOCKED)
RETURNING access, times, since, until"""  # noqa: S608  a constant


class ReportStore(Reports):
    """The trail's outbox; a report leaves it only once the trail has answered."""

    def __init__(self, transaction: Transaction, wake_within: Callable[[float], None]) -> None:
        self._transaction = transaction
        self._wake_within = wake_within

    async def add(self, reports: Sequence[BaseModel]) -> None:
        await self._transaction.run(
            _ADD,
            kinds=[KINDS[type(report)] for report in reports],
            contents=[report.model_dump_json(exclude_none=True) for report in reports],
        )
        seconds = OUTCOMES_GATHER_SECONDS if all(isinstance(one, OutcomeReport) for one in reports) else 0.0
        self._transaction.after_commit.append(partial(self._wake_within, seconds))

    async def tell_anew(self, log: str) -> None:
        await self._transaction.run(_TELL_ANEW, log=log, retention=RETENTION)

    async def use(self, origin: str, index: int) -> bool:
        return bool(await self._transaction.rows(_USE, origin=origin, index=index))

    async def is_first_denial(self, access: Access, at: datetime) -> bool:
        if await self._transaction.rows(_COUNT, access=_key(access), at=at):
            return False
        others = await self._transaction.rows(_ACTORS, agency=access.agency)
        if access.actor and others[0].actors >= DENIED_ACTORS_MAX:  # names of staff are the system's word
            access = access.model_copy(update={"actor": Actor(client=access.actor.client)})
        rows = await self._transaction.rows(_BEGIN, access=_key(access), agency=access.agency, at=at)
        return bool(rows[0].times == 0)

    async def end_denials(self, before: datetime) -> Sequence[Denials]:
        rows = await self._transaction.rows(_END, before=before)
        return [(_access(row.access, row.times), row.since, row.until) for row in rows]

    async def waiting(
        self, after: Mapping[ReportKind, int]
    ) -> Mapping[ReportKind, Sequence[tuple[int, str]]]:
        found: dict[ReportKind, list[tuple[int, str]]] = {kind: [] for kind in after}
        for kind, place, content in await self._transaction.rows(
            _WAITING, kinds=list(after), places=list(after.values())
        ):
            found[kind].append((place, content))
        return found

    async def settle(self, answered: Sequence[int], refused: Mapping[int, str]) -> None:
        if answered:
            await self._transaction.run(_SETTLE, ids=list(answered))
        if refused:
            await self._transaction.run(_REFUSE, ids=list(refused), codes=list(refused.values()))

    async def is_full(self, rows_max: int) -> bool:
        [found] = await self._transaction.rows(_FULL, rows_max=rows_max)
        return bool(found.is_full)

    async def alarms(self) -> Sequence[Alarm]:
        rows = await self._transaction.rows(_REFUSED)
        return [Alarm("report_refused", f"{row.code} ({row.reports})", row.since) for row in rows]


def _access(key: str, times: int) -> Access:
    return Access.model_validate_json(key).model_copy(update={"times": times})


def _key(access: Access) -> str:
    return access.model_dump_json(exclude_none=True)
