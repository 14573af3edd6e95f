"""Views and feeds in PostgreSQL: one statement for a whole batch."""

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from pydantic_core import to_json

from schemas.events.consent import ConsentRef
from schemas.events.life_cycle import PartyName
from services.runtime.transaction import Row, Transaction, columns
from services.sector.domain.bodies import OfferRequest
from services.sector.domain.views import CASE_REFERRALS_MAX, FeedEvent, ReferralView, ThinEvent
from services.sector.handlers.work import Place, ViewKey, Views

_COLUMNS: Final = """
SELECT v.referral, v.agency, v.role, v.case_id AS case, v.subject_number, v.consent_id, v.consent_version,
  CAST(v.request AS text) AS request, v.state, v.number, v.is_awaited, v.protocol,
  CAST(v.offer AS text) AS offer, CAST(v.facts AS text) AS facts, v.updated_at
FROM referral_view v """
_LOCK: Final = f"""{_COLUMNS}
JOIN unnest(CAST(:referrals AS text[]), CAST(:agencies AS text[])) AS k (referral, agency)
  USING (referral, agency)
ORDER BY v.referral, v.agency FOR UPDATE OF v"""
_FIND: Final = f"""{_COLUMNS}
WHERE v.agency = :agency AND v.referral = ANY(CAST(:referrals AS text[]))
ORDER BY v.updated_at DESC, v.referral DESC"""
_OWNED: Final = f"{_COLUMNS} WHERE v.referral = :referral AND v.role = 'owner'"
_OF_CASE: Final = f"""
SELECT referral FROM referral_view WHERE case_id = :case_id
ORDER BY subject_number DESC LIMIT {CASE_REFERRALS_MAX}"""  # noqa: S608  a constant
_RESTING: Final = """
SELECT referral FROM referral_view
WHERE case_id = :case_id AND (CAST(:consent AS text) IS NULL OR consent_id = :consent) ORDER BY referral"""
_BLANK: Final = """
UPDATE referral_view SET request = NULL, offer = NULL, facts = '[]', is_awaited = false
WHERE case_id = :case_id"""
_PLACES: Final = """
SELECT updated_at, referral FROM referral_view
WHERE agency = :agency AND {condition}
  AND (CAST(:before AS timestamptz) IS NULL OR (updated_at, referral) < (:before, CAST(:referral AS text)))
ORDER BY updated_at DESC, referral DESC LIMIT :limit"""
_AWAITING: Final = _PLACES.format(condition="is_awaited")
_LISTED: Final = _PLACES.format(
    condition="role = :role AND (CAST(:state AS text) IS NULL OR state = CAST(:state AS text))"
)
_SAVE: Final = """
INSERT INTO referral_view SELECT * FROM jsonb_populate_recordset(
  CAST(NULL AS referral_view), CAST(CAST(:views AS text) AS jsonb))
ON CONFLICT (referral, agency) DO UPDATE SET request = excluded.request, state = excluded.state,
  number = excluded.number, is_awaited = excluded.is_awaited, protocol = excluded.protocol,
  offer = excluded.offer, facts = excluded.facts, updated_at = excluded.updated_at"""
_PLAIN: Final = (
    "referral", "agency", "role", "subject_number", "request", "state", "number", "is_awaited", "protocol",
    "offer", "facts", "updated_at",
)  # fmt: skip
_APPEND: Final = """
WITH event AS (
  SELECT * FROM unnest(CAST(:agency AS text[]), CAST(:type AS text[]), CAST(:referral AS text[]),
      CAST(:number AS bigint[]), CAST(:state AS text[]), CAST(:at AS timestamptz[]),
      CAST(:code AS text[]), CAST(:step AS text[]))
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
_FEED: Final = """
SELECT position, type, referral, number, state, at, code, step FROM feed_event
WHERE agency = :agency AND position >= :after ORDER BY position LIMIT :limit + 1"""


class ViewStore(Views):
    """Referrals as this sector's agencies see them; a feed's end is locked until the commit, so no gaps."""

    def __init__(self, transaction: Transaction, notify: Callable[[Collection[str]], None]) -> None:
        """`notify` is called after the commit, with the agencies whose feeds grew."""
        self._transaction = transaction
        self._notify = notify

    async def lock(self, keys: Collection[ViewKey]) -> dict[ViewKey, ReferralView]:
        asked = sorted(keys)
        referrals, agencies = [key[0] for key in asked], [key[1] for key in asked]
        rows = await self._transaction.rows(_LOCK, referrals=referrals, agencies=agencies)
        return {(row.referral, row.agency): _view(row) for row in rows}

    async def find(self, referrals: Collection[str], agency: str) -> Sequence[ReferralView]:
        rows = await self._transaction.rows(_FIND, referrals=list(referrals), agency=agency)
        return [_view(row) for row in rows]

    async def owned(self, referral: str) -> ReferralView | None:
        for row in await self._transaction.rows(_OWNED, referral=referral):
            return _view(row)
        return None

    async def of_case(self, case: str) -> Sequence[str]:
        return [row.referral for row in await self._transaction.rows(_OF_CASE, case_id=case)]

    async def resting_on(self, case: str, consent: str | None = None) -> Sequence[str]:
        rows = await self._transaction.rows(_RESTING, case_id=case, consent=consent)
        return [row.referral for row in rows]

    async def blank(self, case: str) -> None:
        await self._transaction.run(_BLANK, case_id=case)

    async def awaiting(self, agency: str, after: Place | None, limit: int) -> Sequence[Place]:
        return await self._places(_AWAITING, after, agency=agency, limit=limit)

    async def listed(
        self, agency: str, role: PartyName, state: str | None, after: Place | None, limit: int
    ) -> Sequence[Place]:
        return await self._places(_LISTED, after, agency=agency, role=role, state=state, limit=limit)

    async def _places(self, sql: str, after: Place | None, **named: Any) -> Sequence[Place]:
        before, referral = after or (None, None)
        rows = await self._transaction.rows(sql, **named, before=before, referral=referral)
        return [(row.updated_at, row.referral) for row in rows]

    async def save(self, views: Collection[ReferralView]) -> None:
        if not views:
            return
        rows = [
            {name: getattr(view, name) for name in _PLAIN}
            | {
                "case_id": view.case,
                "consent_id": view.consent and view.consent.id,
                "consent_version": view.consent and view.consent.version,
            }
            for view in views
        ]
        await self._transaction.run(_SAVE, views=to_json(rows).decode())

    async def append(self, events: Sequence[tuple[str, ThinEvent]]) -> None:
        if not events:
            return
        agencies = [agency for agency, _ in events]
        fields = columns([event for _, event in events], *ThinEvent.model_fields)
        await self._transaction.run(_APPEND, agency=agencies, **fields)
        self._transaction.after_commit.append(partial(self._notify, set(agencies)))

    async def feed(self, agency: str, after: int, limit: int) -> Sequence[FeedEvent] | None:
        rows = await self._transaction.rows(_FEED, agency=agency, after=after, limit=limit)
        if after and (not rows or rows[0].position != after):
            return None  # no position of this feed, or one that has grown too old
        return [FeedEvent.model_construct(**row) for row in rows[after > 0 :][:limit]]


def _view(row: Row) -> ReferralView:
    fields = dict(row)
    consent, version = fields.pop("consent_id"), fields.pop("consent_version")
    fields["consent"] = ConsentRef(id=consent, version=version) if consent else None
    if fields["request"]:
        fields["request"] = OfferRequest.model_validate_json(fields["request"])
    fields["offer"] = fields["offer"] and json.loads(fields["offer"])
    fields["facts"] = tuple(json.loads(fields["facts"]))
    return ReferralView(**fields)
