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
INSERT INTO operator_act (id, verb, counts, reason) VALUES (:id, :verb, CAST(:counts AS jsonb), :reason)"""
_UNTOLD: Final = f"""
SELECT id, verb, counts, done_at FROM operator_act WHERE told_at IS NULL
ORDER BY done_at LIMIT {AT_ONCE_MAX}"""  # noqa: S608  a constant
_TOLD: Final = """
UPDATE operator_act SET told_at = clock_timestamp() WHERE id = ANY(CAST(:ids AS text[]))"""


async def record(transaction: Transaction, verb: str, counts: Mapping[str, int], *, reason: str) -> None:
    """Keep an act in the transaction that does it; verb and names of counts are codes of ours, no values."""
    row = {"id": new_id("operator_act"), "verb": verb, "counts": json.dumps(counts), "reason": reason}
    await transaction.run(_RECORD, **row)


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
        access = {
            "act": "operator",
            "actor": {"client": self._identity.operator},
            "verb": act.verb,
            "counts": json.loads(act.counts),
            "rid": act.id,
        }
        named = f"{self._identity.source}\n{act.id}".encode()
        idem = base64.b64encode(hashlib.sha256(named).digest()[:16]).decode()
        return {"idem": idem, "mode": "with", "happened": instant_text(act.done_at), "access": access}
