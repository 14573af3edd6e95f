"""What operators had this service do: kept with the act itself, told to the trail until it answers.

The reason stays here, for it is free text; the trail gets verb and counts, and the name of this row.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from schemas.wire.body import instant_text
from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.transaction import Row, Transaction

TELL_SECONDS: Final = 5.0
AT_ONCE_MAX: Final = 100

_RECORD: Final = """
INSERT INTO operator_act (id, verb, counts, reason, plan, actor, approved_by)
VALUES (:id, :verb, CAST(:counts AS jsonb), :reason, :plan, :actor, :approved_by)"""
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(:plan, 0))"
_DONE: Final = "SELECT counts FROM operator_act WHERE plan = :plan"
_UNTOLD: Final = f"""
SELECT id, verb, counts, plan, actor, approved_by, done_at FROM operator_act WHERE told_at IS NULL
ORDER BY done_at LIMIT {AT_ONCE_MAX}"""  # noqa: S608  a constant
_TOLD: Final = """
UPDATE operator_act SET told_at = clock_timestamp() WHERE id = ANY(CAST(:ids AS text[]))"""


async def record(
    transaction: Transaction,
    verb: str,
    counts: Mapping[str, int],
    *,
    reason: str,
    plan: str | None = None,
    actor: str | None = None,
    approved_by: str | None = None,
) -> str:
    """Keep an act in the transaction that does it; verb and names of counts are codes of ours, no values.

    Who did it stands there by pseudonym; the holder of the operator's certificate needs none.
    """
    name = new_id("operator_act")
    row = {"id": name, "verb": verb, "counts": json.dumps(counts), "reason": reason}
    await transaction.run(_RECORD, **row, plan=plan, actor=actor, approved_by=approved_by)
    return name


async def done_before(transaction: Transaction, plan: str) -> dict[str, int] | None:
    """What was counted when this plan was carried out, if it was; until the commit nobody else asks.

    Whoever lost the answer asks again, also while the first request is still at it.
    """
    await transaction.run(_LOCK, plan=plan)
    rows = await transaction.rows(_DONE, plan=plan)
    return json.loads(rows[0].counts) if rows else None


class OperatorActs:
    """Tells the trail of acts; the same one twice is one there, so several processes may."""

    def __init__(self, database: Database, identity: Identity, trail: httpx2.AsyncClient) -> None:
        self._database = database
        self._identity = identity
        self._trail = trail

    async def sweep(self) -> bool:
        """Tell of the oldest acts; says whether there may be more."""
        async with self._database.transaction() as transaction:
            acts = await transaction.rows(_UNTOLD)
        if not acts:
            return False
        try:
            answer = await self._trail.post("/v1/events", json={"events": [self._event(act) for act in acts]})
        except httpx2.TransportError as error:
            raise Unavailable("the trail does not answer") from error
        results = answer.json()["results"] if answer.is_success else ()
        told = [act.id for act, result in zip(acts, results, strict=False) if "index" in result]
        async with self._database.transaction() as transaction:
            await transaction.run(_TOLD, ids=told)
        if len(told) < len(acts):
            raise Unavailable("the trail did not take every act; they wait")
        return len(acts) == AT_ONCE_MAX

    def _event(self, act: Row) -> dict[str, Any]:
        identity = self._identity
        client = identity.operations if act.plan else identity.operator
        people = {"plan": act.plan, "second": act.approved_by}
        access = {
            "act": "operator",
            "actor": {"client": client} | ({"id": act.actor} if act.actor else {}),
            "verb": act.verb,
            "counts": json.loads(act.counts),
            "rid": act.id,
        } | {name: one for name, one in people.items() if one}
        named = f"{self._identity.source}\n{act.id}".encode()
        idem = base64.b64encode(hashlib.sha256(named).digest()[:16]).decode()
        return {"idem": idem, "mode": "with", "happened": instant_text(act.done_at), "access": access}
