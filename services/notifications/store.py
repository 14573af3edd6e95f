"""Agencies, desks and notices in PostgreSQL; the only SQL of notifications."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from pydantic import SecretStr

from schemas.governance import AgencyCurrent
from services.notifications.domain.notice import Attempt, Desk, Notice, Settled
from services.notifications.handlers import Place
from services.runtime.admission import Standing
from services.runtime.database import Transaction

_KEEP_AGENCIES: Final = """
INSERT INTO agency AS a (id, version, sector, status)
SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:versions AS bigint[]), CAST(:sectors AS text[]),
  CAST(:statuses AS text[]))
ON CONFLICT (id) DO UPDATE SET version = excluded.version, sector = excluded.sector, status = excluded.status
WHERE a.version < excluded.version
"""
_STANDING: Final = "SELECT sector, status = 'active' AS is_active FROM agency WHERE id = :agency"
_AMONG: Final = """
SELECT agency, code FROM desk
WHERE (agency, code) IN (SELECT * FROM unnest(CAST(:agencies AS text[]), CAST(:codes AS text[])))
"""
_OF_AGENCY: Final = "SELECT agency, code, mail, language FROM desk WHERE agency = :agency ORDER BY code"
_REGISTER: Final = """
INSERT INTO desk (agency, code, mail, language) VALUES (:agency, :code, :mail, :language)
ON CONFLICT (agency, code) DO UPDATE SET mail = excluded.mail, language = excluded.language
"""
_ADD: Final = """
INSERT INTO notice (event, agency, desk, written_at, due_at)
SELECT event, agency, desk, written_at, written_at FROM unnest(
  CAST(:events AS text[]), CAST(:agencies AS text[]), CAST(:desks AS text[]), CAST(:written AS timestamptz[])
) AS fresh (event, agency, desk, written_at)
ON CONFLICT (event) DO NOTHING
"""
_CLAIM: Final = """
UPDATE notice SET state = 'sending', attempts = attempts + 1, due_at = :until
FROM desk, message_key
WHERE event = (
    SELECT event FROM notice WHERE state IN ('waiting', 'sending') AND due_at <= :at
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
  AND desk.agency = notice.agency AND desk.code = notice.desk
RETURNING event, attempts, mail, language, written_at, key
"""
_SETTLE: Final = """
UPDATE notice SET state = :state, due_at = :due_at
WHERE event = :event AND state = 'sending' AND attempts = :attempts
"""


class AgencyStore:
    """The agencies that governance has named."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def keep(self, agencies: Collection[AgencyCurrent]) -> None:
        """Keep each agency unless a newer version is known."""
        await self._transaction.run(
            _KEEP_AGENCIES,
            ids=[one.agency for one in agencies],
            versions=[one.version for one in agencies],
            sectors=[one.sector for one in agencies],
            statuses=[one.status for one in agencies],
        )

    async def standing(self, agency: str) -> Standing | None:
        """How an agency stands, or None if it was not heard of."""
        for row in await self._transaction.rows(_STANDING, agency=agency):
            return Standing(row.sector, row.is_active)
        return None


class DeskStore:
    """The desks that agencies registered."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def among(self, places: Collection[Place]) -> frozenset[Place]:
        """Which of these places are registered."""
        asked = sorted(places)
        rows = await self._transaction.rows(
            _AMONG, agencies=[agency for agency, _ in asked], codes=[code for _, code in asked]
        )
        return frozenset((row.agency, row.code) for row in rows)

    async def of(self, agency: str) -> Sequence[Desk]:
        """The desks of one agency, by code."""
        rows = await self._transaction.rows(_OF_AGENCY, agency=agency)
        return [Desk(row.agency, row.code, SecretStr(row.mail), row.language) for row in rows]

    async def register(self, desk: Desk) -> None:
        """Keep a desk, in the place of what it was before."""
        await self._transaction.run(
            _REGISTER,
            agency=desk.agency,
            code=desk.code,
            mail=desk.mail.get_secret_value(),
            language=desk.language,
        )


class NoticeStore:
    """The notices; one for each event, whatever comes again."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, notices: Sequence[Notice]) -> None:
        """Keep each notice whose event has none yet."""
        if not notices:
            return
        await self._transaction.run(
            _ADD,
            events=[notice.event for notice in notices],
            agencies=[notice.agency for notice in notices],
            desks=[notice.desk for notice in notices],
            written=[notice.written_at for notice in notices],
        )

    async def claim(self, *, at: datetime, until: datetime) -> Attempt | None:
        """Take the notice that is longest due; sweepers at work beside this one skip it."""
        for row in await self._transaction.rows(_CLAIM, at=at, until=until):
            return Attempt(
                row.event, row.attempts, SecretStr(row.mail), row.language, row.written_at, row.key
            )
        return None

    async def settle(self, attempt: Attempt, settled: Settled) -> None:
        """Write how the attempt ended, unless a later attempt has begun."""
        await self._transaction.run(
            _SETTLE, event=attempt.event, attempts=attempt.number, state=settled.state, due_at=settled.due_at
        )
