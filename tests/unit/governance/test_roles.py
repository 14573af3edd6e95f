"""Who may do what at governance's port, cell by cell."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from services.governance.api.partners import partners_app
from services.governance.domain.areas import read_areas
from services.governance.domain.life_cycle import (
    NOTHING,
    GovernanceRegister,
    Nothing,
    PartnerAct,
    PartnerActor,
    RoleMayNot,
)
from services.governance.domain.tables import CYCLES
from services.governance.handlers import Work
from services.runtime.errors import NotFound
from services.runtime.tokens import Caller
from tests.support.clock import NOON
from tests.support.partnership import AREAS
from tests.support.stage import a_busy_stage

ROLES = ("secretary", "seat", "approver", "monitor", "clock", "decision", "founding")
MATRIX = """
partner    propose     .  x  x  .  .  .  .
partner    found       .  .  .  .  .  .  x
partner    confirm     .  .  x  .  .  .  .
partner    amend       .  x  x  .  .  .  .
partner    drop        .  x  x  .  .  .  .
partner    leave       .  .  x  .  .  .  .
committee  propose     x  .  .  .  .  .  .
committee  found       .  .  .  .  .  .  x
committee  adopt       .  .  .  .  .  x  .
committee  drop        x  .  .  .  .  .  .
committee  resign      .  x  .  .  .  .  .
committee  vacate      .  .  .  .  .  x  .
committee  end_term    .  .  .  .  x  .  .
committee  fill        x  .  .  .  .  .  .
committee  hand_over   x  .  .  .  .  .  .
mandate    propose     x  .  .  .  .  .  .
mandate    found       .  .  .  .  .  .  x
mandate    adopt       .  .  .  .  .  x  .
mandate    drop        x  .  .  .  .  .  .
mandate    warn        .  .  .  .  x  .  .
mandate    expire      .  .  .  .  x  .  .
mandate    log_effort  .  x  .  .  .  .  .
mandate    use_budget  .  x  .  .  .  .  .
meeting    call        x  .  .  .  .  .  .
meeting    open        x  .  .  .  .  .  .
meeting    cancel      x  .  .  .  .  .  .
meeting    attend      .  x  .  .  .  .  .
meeting    close       x  .  .  .  .  .  .
meeting    lapse       .  .  .  .  x  .  .
meeting    end         .  .  .  .  x  .  .
decision   table       .  x  .  .  .  .  .
decision   route       .  .  .  .  .  x  .
decision   schedule    x  .  .  .  .  .  .
decision   postpone    .  .  .  .  .  x  .
decision   drop        .  x  .  .  .  .  .
decision   recuse      .  x  .  .  .  .  .
decision   vote        .  x  .  .  .  .  .
decision   take        x  .  .  .  .  .  .
protocol   draft       x  .  .  .  .  .  .
protocol   adopt       .  .  .  .  .  x  .
protocol   drop        x  .  .  .  .  .  .
protocol   sign        .  .  x  .  .  .  .
protocol   take_force  .  .  .  .  x  .  .
protocol   warn        .  .  .  .  x  .  .
protocol   replace     .  .  .  .  .  x  .
protocol   expire      .  .  .  .  x  .  .
dialogue   announce    x  x  .  .  .  .  .
dialogue   drop        x  x  .  .  .  .  .
dialogue   hold        x  x  .  .  .  .  .
recommendation propose   .  x  .  .  .  x  .
recommendation drop      .  x  .  .  .  .  .
recommendation agree     .  x  .  .  .  x  .
recommendation assign    .  x  .  .  .  x  .
recommendation progress  .  x  .  .  .  x  .
recommendation implement .  x  .  .  .  x  .
recommendation verify    .  x  .  .  .  x  .
recommendation stall     .  .  .  .  x  .  .
scorecard  score       .  x  .  .  .  .  .
scorecard  withdraw    .  x  .  .  .  .  .
lesson     propose     .  x  .  .  .  .  .
lesson     drop        .  x  .  .  .  .  .
lesson     share       .  x  .  .  .  .  .
history    check       .  x  .  .  .  .  .
history    confirm     .  .  x  .  .  .  .
history    drop        .  x  .  .  .  .  .
release    ask         .  x  .  .  .  .  .
release    sign        .  .  x  .  .  .  .
release    drop        .  x  .  .  .  .  .
"""
CELLS = {
    (kind, act, role): cell == "x"
    for kind, act, *cells in map(str.split, MATRIX.strip().splitlines())
    for role, cell in zip(ROLES, cells, strict=True)
}


def test_each_role_may_do_what_the_matrix_says_and_nothing_else() -> None:
    found = {
        (kind, act, role): _is_let_in(kind, act, role)
        for kind, cycle in CYCLES.items()
        for act in cycle.names
        for role in ROLES
    }

    assert found == CELLS
    named = {
        (kind, row.act, role)
        for kind, cycle in CYCLES.items()
        for row in cycle.rows
        for role in row.by.split()
    }

    assert {cell: cell in named for cell in CELLS} == CELLS


@pytest.mark.parametrize(("role", "partner", "status"), [
    ("secretary", "ministry", 200), ("seat", "ministry", 200), ("approver", "ministry", 200),
    ("monitor", "ministry", 200), ("caseworker", "ministry", 403), ("clock", "ministry", 403),
    ("decision", "", 403), ("founding", "ministry", 403), ("monitor", "school", 403), ("seat", "nobody", 403),
])  # fmt: skip
async def test_every_role_of_an_admitted_partner_reads_and_nobody_else(
    role: str, partner: str, status: int
) -> None:
    stage = a_busy_stage()

    class StandingActs:
        async def register(self) -> GovernanceRegister:
            return stage.register

        async def history(self, *_: object) -> list[dict[str, object]]:
            return []

    @asynccontextmanager
    async def open_work() -> AsyncIterator[Work]:
        yield Work(None, StandingActs(), stage.rules, stage.clock, None)  # type: ignore[arg-type]

    areas = read_areas(AREAS.read_text("utf-8"))
    app = partners_app(lambda _: Caller("s-1", "client", partner, role), open_work, areas, {})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://test") as client:
        answers = {
            path: (await client.get(path)).status_code
            for kind, cycle in CYCLES.items()
            for one in list(stage.register.of(kind))[:1]
            for base in (f"/v1/{cycle.plural}",)
            for path in (base, f"{base}/{one.id}", f"{base}/{one.id}/acts")
        }

    assert answers == dict.fromkeys(answers, status)
    assert len(answers) == 3 * len(CYCLES)


def _is_let_in(kind: str, act: str, role: str) -> bool:
    try:
        CYCLES[kind].row(PartnerAct(kind, "new", act, PartnerActor(role), Nothing(), NOON), NOTHING)
    except RoleMayNot:
        return False
    except NotFound:
        pass
    return True
