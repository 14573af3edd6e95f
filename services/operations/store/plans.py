"""Plans in the database, a row each, locked while somebody says a word to it; an end is told."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

from schemas.events.operations import ActRecorded
from schemas.topics import OPERATIONS_FACTS
from services.operations.domain.plans import Plan, counts_of
from services.operations.domain.roles import COMMAND, ROLES
from services.runtime import operator_acts
from services.runtime.outbox import Outbox
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Row, Transaction

LISTED_MAX: Final = 200
_JSON: Final = ("chosen", "figures", "scope", "outcome")
_NAMES: Final = tuple(field.name for field in fields(Plan))
_COLUMNS: Final = ", ".join(_NAMES)
_VALUES: Final = ", ".join(f"CAST(:{one} AS jsonb)" if one in _JSON else f":{one}" for one in _NAMES)
_ADD: Final = f"INSERT INTO plan ({_COLUMNS}) VALUES ({_VALUES})"  # noqa: S608
_FIND: Final = f"SELECT {_COLUMNS} FROM plan WHERE id = :id"  # noqa: S608  names of ours
_LIST: Final = f"SELECT {_COLUMNS} FROM plan ORDER BY made_at DESC LIMIT {LISTED_MAX}"  # noqa: S608
_DUE: Final = f"""
SELECT {_COLUMNS} FROM plan WHERE state = 'running' AND next_at <= :now
ORDER BY next_at LIMIT {LISTED_MAX}"""  # noqa: S608
_COUNT: Final = "SELECT count(*) AS plans FROM plan WHERE made_at > :since AND made_by = :person"
_ROLE: Final = "SELECT role FROM operator_grant WHERE person = :person"
_CHANGED: Final = (
    "state", "reason", "confirmed_by", "approved_by", "started_at", "next_at", "wish", "done", "outcome",
    "failure", "ended_at", "receipt",
)  # fmt: skip
_CHANGE: Final = f"""
UPDATE plan SET {
    ", ".join(
        f"{one} = CAST(:outcome AS jsonb)" if one == "outcome" else f"{one} = :{one}" for one in _CHANGED
    )
}
WHERE id = :id"""  # noqa: S608


class PlanStore:
    """The table `plan`, within one transaction."""

    def __init__(self, transaction: Transaction, outbox: Outbox) -> None:
        self._transaction = transaction
        self._outbox = outbox

    async def add(self, plan: Plan) -> None:
        """Keep a new plan."""
        await self._transaction.run(_ADD, **_row(plan))

    async def find(self, name: str) -> Plan | None:
        """The plan of that id."""
        rows = await self._transaction.rows(_FIND, id=name)
        return _plan(rows[0]) if rows else None

    async def locked(self, name: str) -> Plan | None:
        """The same; until the commit nobody else says a word to it."""
        rows = await self._transaction.rows(f"{_FIND} FOR UPDATE", id=name)
        return _plan(rows[0]) if rows else None

    async def newest(self) -> Sequence[Plan]:
        """The newest plans."""
        return [_plan(row) for row in await self._transaction.rows(_LIST)]

    async def due(self, now: datetime) -> Sequence[Plan]:
        """Plans of which a slice is due."""
        return [_plan(row) for row in await self._transaction.rows(_DUE, now=now)]

    async def made_since(self, since: datetime, person: str) -> int:
        """How many this person made since then."""
        [row] = await self._transaction.rows(_COUNT, since=since, person=person)
        return int(row.plans)

    async def may(self, person: str, act: str) -> bool:
        """Whether this person's role may do the act now; whoever holds the certificate always may."""
        rows = await self._transaction.rows(_ROLE, person=person)
        return person == COMMAND or any(act in ROLES[row.role] for row in rows)

    async def change(self, plan: Plan) -> None:
        """Keep what was said to a plan, or how far it is."""
        row = {name: value for name, value in _row(plan).items() if name in _CHANGED}
        await self._transaction.run(_CHANGE, id=plan.id, **row)

    async def tell_end(self, plan: Plan, at: datetime) -> None:
        """Tell what came of a plan that had begun: the trail, and whoever reads the facts."""
        counts = counts_of(plan)
        act = await operator_acts.record(
            self._transaction,
            f"plan_{plan.state}",
            counts,
            reason=plan.reason or "",
            plan=plan.id,
            actor=plan.confirmed_by,
            approved_by=plan.approved_by,
        )
        body = ActRecorded(act=act, verb=plan.act, service=plan.service, counts=counts, plan=plan.id)
        await self._outbox.add(self._transaction, [OutboxEvent(OPERATIONS_FACTS, body, at=at)])


def _row(plan: Plan) -> dict[str, Any]:
    row = asdict(plan)
    return row | {name: None if row[name] is None else json.dumps(row[name]) for name in _JSON}


def _plan(row: Row) -> Plan:
    content = {name: row[name] for name in _NAMES}
    return Plan(**content | {name: json.loads(row[name]) for name in _JSON if row[name] is not None})
