"""Views and feeds in PostgreSQL: one statement for a whole batch."""

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Row

from services.runtime.transaction import Transaction
from services.sector.domain.views import CASE_REFERRALS_MAX, ConsentRef, FeedEvent, ReferralView
from services.sector.handlers.work import Place, ViewKey

_COLUMNS: Final = """
SELECT v.referral, v.agency, v.role, v.case_id, v.subject_number, v.consent_id, v.consent_version, v.state,
  v.number, v.protocol, CAST(v.offer AS text) AS offer, CAST(v.facts AS text) AS facts, v.updated_at
FROM referral_view v """
_LOCK: Final = (
    _COLUMNS
    + """
JOIN unnest(CAST(:referrals AS text[]), CAST(:agencies AS text[])) AS k (referral, agency)
  USING (referral, agency)
ORDER BY v.referral, v.agency FOR UPDATE OF v"""
)
_FIND: Final = (
    _COLUMNS
    + """
WHERE v.agency = :agency AND v.referral = ANY(CAST(:referrals AS text[]))
ORDER BY v.updated_at DESC, v.referral DESC"""
)
_OF_CASE: Final = f"""
SELECT referral FROM referral_view WHERE case_id = :case_id
ORDER BY subject_number DESC LIMIT {CASE_REFERRALS_MAX}"""  # noqa: S608  a constant
_AWAITING: Final = """
SELECT updated_at, referral FROM referral_view
WHERE agency = :agency AND is_awaited
  AND (CAST(:before AS timestamptz) IS NULL OR (updated_at, referral) < (:before, CAST(:referral AS text)))
ORDER BY updated_at DESC, referral DESC LIMIT :limit"""
_SAVE: Final = """
INSERT INTO referral_view (referral, agency, role, case_id, subject_number, consent_id, consent_version,
  state, number, is_awaited, protocol, offer, facts, updated_at)
SELECT referral, agency, role, case_id, subject_number, consent_id, consent_version, state,
  number, is_awaited, protocol, CAST(offer AS jsonb), CAST(facts AS jsonb), updated_at
FROM unnest(CAST(:referrals AS text[]), CAST(:agencies AS text[]), CAST(:roles AS text[]),
    CAST(:cases AS text[]), CAST(:subjects AS integer[]), CAST(:consents AS text[]),
    CAST(:versions AS integer[]), CAST(:states AS text[]), CAST(:numbers AS bigint[]),
    CAST(:awaited AS boolean[]), CAST(:protocols AS text[]), CAST(:offers AS text[]), CAST(:facts AS text[]),
    CAST(:updated AS timestamptz[]))
  AS row (referral, agency, role, case_id, subject_number, consent_id, consent_version, state,
    number, is_awaited, protocol, offer, facts, updated_at)
ON CONFLICT (referral, agency) DO UPDATE SET state = excluded.state, number = excluded.number,
  is_awaited = excluded.is_awaited, protocol = excluded.protocol, offer = excluded.offer,
  facts = excluded.facts, updated_at = excluded.updated_at"""
_TELL: Final = """
WITH event AS (
  SELECT * FROM unnest(CAST(:agencies AS text[]), CAST(:types AS text[]), CAST(:referrals AS text[]),
      CAST(:numbers AS bigint[]), CAST(:states AS text[]), CAST(:times AS timestamptz[]),
      CAST(:codes AS text[]), CAST(:steps AS text[]))
    WITH ORDINALITY AS row (agency, type, referral, number, state, at, code, step, place)),
last AS (
  INSERT INTO feed_end AS f (agency, position)
  SELECT agency, count(*) FROM event GROUP BY agency ORDER BY agency -- one order for all writers: no deadlock
  ON CONFLICT (agency) DO UPDATE SET position = f.position + excluded.position
  RETURNING f.agency, f.position)
INSERT INTO feed_event (agency, position, type, referral, number, state, at, code, step)
SELECT agency, last.position + 1 - row_number() OVER (PARTITION BY agency ORDER BY place DESC),
  type, referral, number, state, at, code, step
FROM event JOIN last USING (agency)"""
_TOLD: Final = """
SELECT position, agency, type, referral, number, state, at, code, step FROM feed_event
WHERE agency = :agency AND position > :after ORDER BY position LIMIT :limit"""
_FEED_END: Final = "SELECT position FROM feed_end WHERE agency = :agency"


class ViewStore:
    """Referrals as this sector's agencies see them; a feed's end is locked until the commit, so no gaps."""

    def __init__(self, transaction: Transaction, notify: Callable[[Collection[str]], None]) -> None:
        """`notify` is called after the commit, with the agencies whose feeds grew."""
        self._transaction = transaction
        self._notify = notify

    async def lock(self, keys: Collection[ViewKey]) -> dict[ViewKey, ReferralView]:
        """Those of the views that exist, locked in one order."""
        asked = sorted(keys)
        rows = await self._transaction.rows(
            _LOCK, referrals=[referral for referral, _ in asked], agencies=[agency for _, agency in asked]
        )
        return {(row.referral, row.agency): _view(row) for row in rows}

    async def find(self, referrals: Collection[str], agency: str) -> Sequence[ReferralView]:
        """The agency's views of these referrals, newest first."""
        rows = await self._transaction.rows(_FIND, referrals=list(referrals), agency=agency)
        return [_view(row) for row in rows]

    async def of_case(self, case: str) -> Sequence[str]:
        """The newest referrals of a case."""
        return [row.referral for row in await self._transaction.rows(_OF_CASE, case_id=case)]

    async def awaiting(self, agency: str, after: Place | None, limit: int) -> Sequence[Place]:
        """What awaits the agency, newest first, behind a place."""
        before, referral = after or (None, None)
        rows = await self._transaction.rows(
            _AWAITING, agency=agency, limit=limit, before=before, referral=referral
        )
        return [(row.updated_at, row.referral) for row in rows]

    async def save(self, views: Collection[ReferralView]) -> None:
        """Keep views as they are now."""
        if not views:
            return
        await self._transaction.run(
            _SAVE,
            referrals=[view.referral for view in views],
            agencies=[view.agency for view in views],
            roles=[view.role for view in views],
            cases=[view.case for view in views],
            subjects=[view.subject_number for view in views],
            consents=[view.consent.id if view.consent else None for view in views],
            versions=[view.consent.version if view.consent else None for view in views],
            states=[view.state for view in views],
            numbers=[view.number for view in views],
            awaited=[view.is_awaited for view in views],
            protocols=[view.protocol for view in views],
            offers=[json.dumps(view.offer) if view.offer is not None else None for view in views],
            facts=[json.dumps(view.facts) for view in views],
            updated=[view.updated_at for view in views],
        )

    async def tell(self, events: Sequence[FeedEvent]) -> None:
        """Add thin events to the feeds; who waits for them is woken by the commit."""
        if not events:
            return
        await self._transaction.run(
            _TELL,
            agencies=[event.agency for event in events],
            types=[event.type for event in events],
            referrals=[event.referral for event in events],
            numbers=[event.number for event in events],
            states=[event.state for event in events],
            times=[event.at for event in events],
            codes=[event.code for event in events],
            steps=[event.step for event in events],
        )
        self._transaction.after_commit.append(partial(self._notify, {event.agency for event in events}))

    async def told(self, agency: str, after: int, limit: int) -> Sequence[tuple[int, FeedEvent]]:
        """The agency's feed behind a position, in order."""
        rows = await self._transaction.rows(_TOLD, agency=agency, after=after, limit=limit)
        return [(row.position, _event(row)) for row in rows]

    async def feed_end(self, agency: str) -> int:
        """The position of the last event in the agency's feed; 0 before the first."""
        rows = await self._transaction.rows(_FEED_END, agency=agency)
        return rows[0].position if rows else 0


def _view(row: Row[Any]) -> ReferralView:
    return ReferralView(
        referral=row.referral,
        agency=row.agency,
        role=row.role,
        case=row.case_id,
        subject_number=row.subject_number,
        consent=ConsentRef(row.consent_id, row.consent_version) if row.consent_id else None,
        state=row.state,
        number=row.number,
        protocol=row.protocol,
        offer=json.loads(row.offer) if row.offer is not None else None,
        facts=tuple(json.loads(row.facts)),
        updated_at=row.updated_at,
    )


def _event(row: Row[Any]) -> FeedEvent:
    return FeedEvent(row.agency, row.type, row.referral, row.number, row.state, row.at, row.code, row.step)
