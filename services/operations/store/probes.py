"""Pairs of probes: whose turn it is, and how their rounds ended."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from services.operations.domain.probes import FailedRounds, ProbePair, ProbeStanding
from services.runtime.transaction import Transaction

_KEEP: Final = """
INSERT INTO probe_pair (owner, receiver)
SELECT * FROM unnest(CAST(:owners AS text[]), CAST(:receivers AS text[])) ON CONFLICT DO NOTHING"""
_TURN: Final = """
UPDATE probe_pair p SET begun_at = :at
WHERE (p.owner, p.receiver) = (
    SELECT n.owner, n.receiver FROM probe_pair n
    ORDER BY n.failures = 1 DESC, n.begun_at NULLS FIRST, n.owner LIMIT 1 FOR UPDATE SKIP LOCKED)
  AND NOT EXISTS (SELECT FROM probe_pair o WHERE o.begun_at > :since AND o.begun_at <= :at)
RETURNING p.owner, p.receiver, p.succeeded_at IS NULL AS is_new, p.case_id, p.consent, p.places"""
_PUT_OFF: Final = """
UPDATE probe_pair SET begun_at = NULL, case_id = :case, consent = CAST(:consent AS jsonb),
  places = CAST(:places AS jsonb)
WHERE owner = :owner AND receiver = :receiver"""
_END: Final = """
UPDATE probe_pair SET case_id = :case, consent = CAST(:consent AS jsonb), places = CAST(:places AS jsonb),
  succeeded_at = CASE WHEN CAST(:code AS text) IS NULL THEN :at ELSE succeeded_at END,
  failing_since = CASE WHEN CAST(:code AS text) IS NULL THEN NULL ELSE coalesce(failing_since, :at) END,
  failures = CASE WHEN CAST(:code AS text) IS NULL THEN 0 ELSE failures + 1 END,
  seconds = coalesce(:seconds, seconds)
WHERE owner = :owner AND receiver = :receiver"""
_ROUND: Final = """
INSERT INTO probe_round (at, owner, receiver, seconds, code)
VALUES (:at, :owner, :receiver, :seconds, :code)"""
_PAIRS: Final = """
SELECT owner, receiver, succeeded_at, seconds, failing_since, failures FROM probe_pair ORDER BY owner"""
_FAILED: Final = """
SELECT code, count(*) AS count FROM probe_round
WHERE code IS NOT NULL AND at > now() - interval '1 day' GROUP BY code ORDER BY count DESC, code LIMIT 50"""


@dataclass(slots=True)
class ProbeTurn:
    """A pair that plays now, with what its rounds share, and how far it read each feed."""

    owner: str
    receiver: str
    is_new: bool
    """It never came round."""
    case: str | None = None
    consent: Mapping[str, Any] | None = None
    places: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Owner and receiver."""
        return f"{self.owner}, {self.receiver}"

    @property
    def columns(self) -> Mapping[str, str | None]:
        """Which pair, and what its next round goes on from."""
        return {
            "owner": self.owner,
            "receiver": self.receiver,
            "case": self.case,
            "consent": json.dumps(self.consent) if self.consent else None,
            "places": json.dumps(self.places),
        }


class ProbeStore:
    """All is durable at commit; each may raise Unavailable."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def keep_pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Know these pairs."""
        owners, receivers = zip(*pairs, strict=True)
        await self._transaction.run(_KEEP, owners=list(owners), receivers=list(receivers))

    async def next_turn(self, at: datetime, every: timedelta) -> ProbeTurn | None:
        """The pair that waits longest begins now; None while a round began within the time."""
        for row in await self._transaction.rows(_TURN, at=at, since=at - every):
            consent = json.loads(row.consent) if row.consent else None
            places = json.loads(row.places)
            return ProbeTurn(row.owner, row.receiver, row.is_new, row.case_id, consent, places)
        return None

    async def end(self, turn: ProbeTurn, at: datetime, seconds: float | None, code: str | None) -> None:
        """Write how a round ended: in so many seconds, or by which code it failed."""
        ended = {"at": at, "seconds": seconds, "code": code}
        await self._transaction.run(_END, **turn.columns, **ended)
        await self._transaction.run(_ROUND, owner=turn.owner, receiver=turn.receiver, **ended)

    async def put_off(self, turn: ProbeTurn) -> None:
        """The pair has not played; it is its turn again at once."""
        await self._transaction.run(_PUT_OFF, **turn.columns)

    async def standing(self, at: datetime) -> ProbeStanding:
        """How each pair stands, and by which codes rounds of the last day failed."""
        pairs = [ProbePair(*row) for row in await self._transaction.rows(_PAIRS)]
        failed = [FailedRounds(*row) for row in await self._transaction.rows(_FAILED)]
        return ProbeStanding(at, pairs, failed)
