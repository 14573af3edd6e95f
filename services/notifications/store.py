"""Agencies, desks and notices in PostgreSQL; the only SQL of notifications."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from pydantic import SecretStr

from schemas.events.governance import AgencyCurrent
from services.notifications.domain import notice
from services.notifications.handlers import Place, Store
from services.runtime.admission import AgencyStanding
from services.runtime.transaction import Row, Transaction, columns

_LAST_AGENCIES: Final = """
SELECT id, CAST(document AS text) AS document FROM agency WHERE id = ANY(CAST(:ids AS text[]))
"""
_KEEP_AGENCIES: Final = """
INSERT INTO agency AS a (id, version, sector, status, document)
SELECT id, version, sector, status, CAST(document AS jsonb)
FROM unnest(CAST(:agency AS text[]), CAST(:version AS bigint[]), CAST(:sector AS text[]),
  CAST(:status AS text[]), CAST(:document AS text[])) AS n (id, version, sector, status, document)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, sector = excluded.sector,
  status = excluded.status, document = excluded.document
WHERE a.version < excluded.version
"""
_STANDING: Final = "SELECT sector, status = 'active' AS is_active FROM agency WHERE id = :agency"
_OF_AGENCY: Final = """
SELECT agency, code, mail, language, undeliverable_since FROM desk WHERE agency = :agency ORDER BY code
"""
_HASTEN: Final = """
UPDATE notice SET due_at = written_at WHERE agency = :agency AND desk = :code AND state = 'waiting'
  AND EXISTS (SELECT FROM desk WHERE agency = :agency AND code = :code AND mail <> :mail)
"""
_REGISTER: Final = """
INSERT INTO desk (agency, code, mail, language) VALUES (:agency, :code, :mail, :language)
ON CONFLICT (agency, code) DO UPDATE SET mail = excluded.mail, language = excluded.language,
  undeliverable_since = CASE WHEN desk.mail = excluded.mail THEN desk.undeliverable_since END
RETURNING agency, code, mail, language, undeliverable_since
"""
_ADD: Final = """
WITH fresh AS (
    SELECT * FROM unnest(
      CAST(:event AS text[]), CAST(:referral AS text[]), CAST(:agency AS text[]), CAST(:desk AS text[]),
      CAST(:written_at AS timestamptz[])
    ) AS fresh (event, referral, agency, desk, written_at)),
  probe AS (
    SELECT id FROM agency WHERE id = ANY (CAST(:agency AS text[])) AND document ->> 'probe' = 'true'),
  sight AS (
    INSERT INTO probe_sight (it, seen_at)
    SELECT 'it', max(written_at) FROM fresh JOIN probe ON probe.id = fresh.agency HAVING count(*) > 0
    ON CONFLICT (it) DO UPDATE SET seen_at = excluded.seen_at)
INSERT INTO notice (event, referral, agency, desk, written_at, due_at)
SELECT event, referral, fresh.agency, desk, written_at, written_at FROM fresh
JOIN desk AS registered ON registered.agency = fresh.agency AND registered.code = fresh.desk
WHERE NOT EXISTS (SELECT FROM probe WHERE probe.id = fresh.agency)
ON CONFLICT (event) DO NOTHING
"""
_SIGHT: Final = "SELECT seen_at FROM probe_sight"
_DROP: Final = """
UPDATE notice SET state = 'moot' FROM (
    SELECT n.event FROM notice n JOIN unnest(
      CAST(:referrals AS text[]), CAST(:agencies AS text[]), CAST(:desks AS text[])
    ) AS waiting (referral, agency, desk) ON n.referral = waiting.referral
    WHERE n.state IN ('waiting', 'sending')
      AND (n.agency, n.desk) IS DISTINCT FROM (waiting.agency, waiting.desk)
    ORDER BY n.event FOR UPDATE OF n) AS moot
WHERE notice.event = moot.event
"""
_CLAIM: Final = """
WITH place AS MATERIALIZED (
    SELECT d.agency, d.code, d.mail, d.language
    FROM notice n JOIN desk d ON d.agency = n.agency AND d.code = n.desk
    WHERE n.state IN ('waiting', 'sending') AND n.due_at <= :at
    ORDER BY n.due_at LIMIT 1 FOR NO KEY UPDATE OF d SKIP LOCKED),
  due AS MATERIALIZED (
    SELECT n.event, place.* FROM notice n JOIN place ON place.agency = n.agency AND place.code = n.desk
    WHERE n.state IN ('waiting', 'sending') AND n.due_at <= :at ORDER BY n.written_at, n.event LIMIT :most
    FOR UPDATE OF n SKIP LOCKED)
UPDATE notice SET state = 'sending', attempts = attempts + 1, due_at = :until FROM due, message_key
WHERE notice.event = due.event
RETURNING notice.event, attempts, written_at, notice.agency, notice.desk, due.mail, due.language, key
"""
_SETTLE: Final = """
UPDATE notice SET state = outcome.state, due_at = outcome.due_at FROM (
    SELECT n.event, given.state, given.due_at FROM notice n JOIN unnest(
      CAST(:event AS text[]), CAST(:number AS int[]), CAST(:state AS text[]), CAST(:due_at AS timestamptz[])
    ) AS given (event, number, state, due_at) ON n.event = given.event
    WHERE n.state = 'sending' AND n.attempts = given.number ORDER BY n.event FOR UPDATE OF n) AS outcome
WHERE notice.event = outcome.event
"""
_MARK_SENT: Final = """
UPDATE notice SET state = 'sent' FROM (
    SELECT event FROM notice
    WHERE agency = :agency AND desk = :desk AND state = 'waiting' AND written_at <= :at
    ORDER BY event FOR UPDATE) AS waited
WHERE notice.event = waited.event
"""
_TAKES_MAIL: Final = """
UPDATE desk SET undeliverable_since = CASE WHEN :takes THEN NULL ELSE coalesce(undeliverable_since, :at) END
WHERE agency = :agency AND code = :desk AND mail = :mail AND (:takes = (undeliverable_since IS NOT NULL))
"""
_UNDELIVERABLE: Final = """
SELECT agency, code, mail, language, undeliverable_since FROM desk WHERE undeliverable_since IS NOT NULL
ORDER BY undeliverable_since, agency, code LIMIT :most
"""


class NotificationStore(Store):
    """The agencies that governance has named, the desks that they registered, a notice for each event."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def last_agencies(self, agencies: Collection[str]) -> dict[str, AgencyCurrent]:
        rows = await self._transaction.rows(_LAST_AGENCIES, ids=list(agencies)) if agencies else ()
        return {row.id: AgencyCurrent.model_validate_json(row.document) for row in rows}

    async def keep_agencies(self, agencies: Collection[AgencyCurrent]) -> None:
        if agencies:
            named = columns(agencies, "agency", "version", "sector", "status")
            texts = [one.model_dump_json() for one in agencies]
            await self._transaction.run(_KEEP_AGENCIES, **named, document=texts)

    async def admission(self, agency: str) -> AgencyStanding | None:
        for row in await self._transaction.rows(_STANDING, agency=agency):
            return AgencyStanding(row.sector, row.is_active)
        return None

    async def desks_of(self, agency: str) -> Sequence[notice.Desk]:
        rows = await self._transaction.rows(_OF_AGENCY, agency=agency)
        return [_desk(row) for row in rows]

    async def register(self, desk: notice.Desk) -> notice.Desk:
        place = {"agency": desk.agency, "code": desk.code, "mail": desk.mail.get_secret_value()}
        await self._transaction.run(_HASTEN, **place)
        [row] = await self._transaction.rows(_REGISTER, **place, language=desk.language)
        return _desk(row)

    async def add(self, notices: Sequence[notice.Notice]) -> None:
        if notices:
            names = ("event", "referral", "agency", "desk", "written_at")
            await self._transaction.run(_ADD, **columns(notices, *names))

    async def probe_seen_at(self) -> datetime | None:
        """When a referral between probes came by last."""
        for row in await self._transaction.rows(_SIGHT):
            seen_at: datetime = row.seen_at
            return seen_at
        return None

    async def drop(self, waiting: Mapping[str, Place | None]) -> None:
        places = [place or (None, None) for place in waiting.values()]
        await self._transaction.run(
            _DROP,
            referrals=list(waiting),
            agencies=[agency for agency, _ in places],
            desks=[desk for _, desk in places],
        )

    async def claim(self, *, at: datetime, until: datetime) -> notice.Attempt | None:
        rows = await self._transaction.rows(_CLAIM, at=at, until=until, most=notice.NOTICES_PER_MAIL_MAX)
        if not rows:
            return None
        rows = sorted(rows, key=lambda row: (row.written_at, row.event))  # RETURNING promises no order
        first = rows[0]
        numbers = {row.event: row.attempts for row in rows}
        desk = notice.Desk(first.agency, first.desk, SecretStr(first.mail), first.language)
        return notice.Attempt(desk, numbers, at, first.written_at, first.key)

    async def settle(self, attempt: notice.Attempt, result: notice.Result, *, at: datetime) -> None:
        events, numbers = list(attempt.numbers), list(attempt.numbers.values())
        outcomes = [notice.outcome_of(number, result, at=at) for number in numbers]
        states, due_at = [state for state, _ in outcomes], [due for _, due in outcomes]
        await self._transaction.run(_SETTLE, event=events, number=numbers, state=states, due_at=due_at)
        place = {"agency": attempt.desk.agency, "desk": attempt.desk.code}
        if result == "taken":
            await self._transaction.run(_MARK_SENT, **place, at=attempt.at)
        if result != "not_now" or "given_up" in states:
            mail = attempt.desk.mail.get_secret_value()
            await self._transaction.run(_TAKES_MAIL, **place, mail=mail, takes=result == "taken", at=at)

    async def undeliverable(self, most: int) -> Sequence[notice.Desk]:
        rows = await self._transaction.rows(_UNDELIVERABLE, most=most)
        return [_desk(row) for row in rows]


def _desk(row: Row) -> notice.Desk:
    return notice.Desk(row.agency, row.code, SecretStr(row.mail), row.language, row.undeliverable_since)
