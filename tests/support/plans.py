"""Twins of what plans need: a table in memory, and a service that has letters."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.operations.domain.plans import Plan
from services.operations.plans import Plans
from services.runtime.acts import Rehearsal
from services.runtime.clock import Clock
from services.runtime.errors import Refused, Unavailable


@dataclass(frozen=True)
class APerson:
    """Somebody whose roles may do these acts, or any."""

    pseudonym: str
    acts: Sequence[str] | None = None

    def may(self, act: str) -> bool:
        return self.acts is None or act in self.acts


COMMAND, SECOND, VIEWER = APerson("command"), APerson("opr_second"), APerson("opr_viewer", ())


@dataclass
class TableInMemory:
    """Rows as the database keeps them."""

    rows: dict[str, Plan] = field(default_factory=dict)
    told: list[Plan] = field(default_factory=list)
    without_role: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["TableInMemory"]:
        rows, told = dict(self.rows), list(self.told)
        try:
            yield self
        except BaseException:
            self.rows, self.told = rows, told
            raise

    async def add(self, plan: Plan) -> None:
        self.rows[plan.id] = plan

    async def find(self, name: str) -> Plan | None:
        return self.rows.get(name)

    locked = find

    async def newest(self) -> Sequence[Plan]:
        return list(self.rows.values())

    async def due(self, now: datetime) -> Sequence[Plan]:
        return [one for one in self.rows.values() if one.state == "running" and (one.next_at or now) <= now]

    async def made_since(self, since: datetime, person: str) -> int:
        return sum(one.made_at > since and one.made_by == person for one in self.rows.values())

    async def may(self, person: str, act: str) -> bool:
        return person not in self.without_role

    async def change(self, plan: Plan) -> None:
        self.rows[plan.id] = plan

    async def tell_end(self, plan: Plan, at: datetime) -> None:
        self.told.append(plan)


@dataclass
class AService:
    """Holds letters of one code; those of `bad` stay whatever is tried."""

    waiting: list[str]
    bad: Sequence[str] = ()
    tried: list[str] = field(default_factory=list)
    away: int = 0
    loses_answers: int = 0
    refuses: type[Refused] | None = None
    skips: bool = False

    async def rehearse(self, service: str, act: str, chosen: Mapping[str, Any]) -> Rehearsal:
        if act == "reset":
            return Rehearsal(count=7, skips=self.skips, figures={}, scope={"following": 3, "to": 10})
        return Rehearsal(count=len(self.waiting), figures={"readable": 1}, scope={"ids": list(self.waiting)})

    async def order(
        self, service: str, act: str, order: Mapping[str, Any], scope: Mapping[str, Any], count: int
    ) -> Mapping[str, int]:
        if self.away:
            self.away -= 1
            raise Unavailable("it does not answer")
        if self.refuses:
            raise self.refuses
        ids = scope.get("ids", [])
        self.tried += [one for one in ids if one in self.waiting]
        self.waiting = [one for one in self.waiting if one not in ids or one in self.bad]
        if self.loses_answers:
            self.loses_answers -= 1
            raise Unavailable("it was done, and nobody was told")
        left = [one for one in ids if one in self.waiting]
        return {"redriven": len(ids) - len(left)} | ({"handler": len(left)} if left else {})


def plans_over(table: TableInMemory, doors: AService, clock: Clock, rate: int = 5) -> Plans:
    """Plans over these twins, whose receipts name their state."""
    return Plans(table.open, doors, clock, rate=rate, sign=lambda plan: f"signed {plan.state}")
