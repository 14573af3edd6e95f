"""The routes of every aggregate, made from its table: how things stand, what was done, and each act."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from pydantic import BaseModel, create_model

from schemas.ids import KINDS
from services.governance.api.operators import OpenWork
from services.governance.domain.areas import AreaCode, UnknownArea
from services.governance.domain.histories import HISTORIES, RecommendationTable, recommendations_csv
from services.governance.domain.life_cycle import (
    NOTHING,
    PEOPLE,
    ActRow,
    AlreadyThere,
    CodeNotListed,
    Content,
    GovernanceRegister,
    LifeCycle,
    NotAPartner,
    NotInThisState,
    PartnerAct,
    PartnerActor,
    RecordFull,
    RoleMayNot,
    TooMany,
    TooManyOpen,
    UnknownReference,
    check_partner,
)
from services.governance.domain.protocols import PROTOCOLS, SharingVersion, differences
from services.governance.domain.tables import CYCLES
from services.governance.handlers import ActReceipt, TrialRuns, Work, foresee, perform_act
from services.runtime.errors import NotFound
from services.runtime.openapi import refuses
from services.runtime.refusals import NotCsv, TableTooLarge
from services.runtime.tokens import Caller

PAGE: Final = 200
TABLE_BODY: Final = {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}


class CsvResponse(Response):
    """A table."""

    media_type = "text/csv"


class ActEntry(BaseModel):
    """One act of a record's history: what, in which seat, when, and what was told of it."""

    number: int
    act: str
    role: str
    partner: str
    constituency: str
    at: datetime
    state: str
    facts: Sequence[str]


class History(BaseModel):
    """Acts in order; `next` is where to go on."""

    data: Sequence[ActEntry]
    next: int | None


class Differences(BaseModel):
    """Every cell in which a version differs from the one before, in words."""

    data: Sequence[str]
    next: None = None


def act_routes(caller: Callable[[Request], Caller], open_work: OpenWork) -> APIRouter:
    """Every route of every aggregate."""
    router = APIRouter(prefix="/v1")
    for cycle in CYCLES.values():
        _add_reads(router, cycle, caller, open_work)
        for row in cycle.rows:
            if row.of_people:
                _add_act(router, cycle, row, caller, open_work)
    _add_differences(router, caller, open_work)
    _add_tables(router, caller, open_work)
    return router


def _add_act(
    router: APIRouter, cycle: LifeCycle, row: ActRow, caller: Callable[[Request], Caller], open_work: OpenWork
) -> None:
    """One act: PUT where it makes the record, else POST under the act's name."""
    is_new = NOTHING in row.states.split()
    examples = [dict(cycle.example)] if is_new and cycle.example else None
    is_table = row.body is RecommendationTable
    source = Depends(_table_sent) if is_table else Body(examples=examples)

    async def act(
        request: Request,
        name: Annotated[str, _id_path(cycle)],
        body: Annotated[row.body, source],  # type: ignore[name-defined]
    ) -> ActReceipt:
        person = caller(request)
        if person.role not in row.of_people:  # before anybody waits for anybody
            raise RoleMayNot
        actor = PartnerActor(person.role, person.agency, person.staff)
        if is_table:
            async with open_work() as work:
                asked = PartnerAct(cycle.kind, name, row.act, actor, body, work.clock.now())
                register = (await work.acts.register()).copy()
            await asyncio.to_thread(foresee, asked, register, work.rules)
        async with open_work() as work:
            asked = PartnerAct(cycle.kind, name, row.act, actor, body, work.clock.now())
            # A crash after the commit says it to nobody: the same again is answered as if it were the first.
            return await perform_act(asked, work)

    everybody = (RoleMayNot, NotAPartner, UnknownReference, NotInThisState, CodeNotListed, RecordFull)
    refuses(
        *everybody,
        *cycle.refusals(row.act),
        *((TooMany, TooManyOpen, AlreadyThere) if is_new else (NotFound,)),
    )(act)
    path = f"/{cycle.plural}/{{name}}" if is_new else f"/{cycle.plural}/{{name}}/{row.act}"
    router.add_api_route(
        path, act, methods=["PUT" if is_new else "POST"],
        description=f"{row.about} Roles: {', '.join(row.of_people)}.", name=f"{row.act}_{cycle.kind}",
        openapi_extra={"requestBody": TABLE_BODY} if is_table else None,
    )  # fmt: skip


@refuses(TableTooLarge, NotCsv, TrialRuns)
async def _table_sent(request: Request) -> RecommendationTable:
    return RecommendationTable(table=(await request.body()).decode())


def _add_reads(
    router: APIRouter, cycle: LifeCycle, caller: Callable[[Request], Caller], open_work: OpenWork
) -> None:
    shown = _view_of(cycle.content)
    answer = create_model(
        f"{cycle.content.__name__}Record",
        id=(str, ...), state=(str, ...), version=(int, ...), allowed=(Sequence[str], ...),
        content=(shown, ...),
    )  # fmt: skip
    page = create_model(f"{cycle.content.__name__}List", data=(Sequence[answer], ...), next=(str | None, ...))

    def record_of(name: str, register: GovernanceRegister) -> Any:
        found = register.get(cycle.kind, name)
        if found is None:
            raise NotFound
        content = shown(**found.content.model_dump(exclude=set(cycle.content.hidden)))
        allowed = cycle.allowed(found.state)
        return answer(id=name, state=found.state, version=found.version, allowed=allowed, content=content)

    has_area = "area" in cycle.content.model_fields

    @router.get(
        f"/{cycle.plural}",
        response_model=page,
        name=f"list_{cycle.plural}",
        description=f"All {cycle.plural}{' of an area' if has_area else ''}, by id, {cycle.page} at a time.",
    )
    @refuses(RoleMayNot, NotAPartner, *((UnknownArea,) if has_area else ()))
    async def list_records(
        request: Request,
        area: Annotated[str | None, Depends(_asked_area if has_area else _no_area)],
        state: Annotated[str | None, Query(pattern=r"^[a-z_]{1,30}$")] = None,
        after: Annotated[str, Query(max_length=40)] = "",
    ) -> Any:
        async with open_work() as work:
            register = await _register_for(caller(request), work)
        areas = work.rules.areas
        if area:
            areas.check(area)
        fits = (one for one in register.of(cycle.kind) if state in (None, one.state) and one.id > after)
        names = sorted(one.id for one in fits if not area or areas.contains(area, one.content.area))
        data = [record_of(name, register) for name in names[: cycle.page]]
        return page(data=data, next=names[cycle.page - 1] if len(names) > cycle.page else None)

    @router.get(
        f"/{cycle.plural}/{{name}}",
        response_model=answer,
        name=f"read_{cycle.kind}",
        description=f"One {cycle.kind} as it stands, and what may be done now.",
    )
    @refuses(RoleMayNot, NotAPartner, NotFound)
    async def read_record(request: Request, name: Annotated[str, _id_path(cycle)]) -> Any:
        async with open_work() as work:
            return record_of(name, await _register_for(caller(request), work))

    @router.get(
        f"/{cycle.plural}/{{name}}/acts",
        name=f"{cycle.kind}_history",
        description=f"Everything that was done to one {cycle.kind}.",
    )
    @refuses(RoleMayNot, NotAPartner, NotFound)
    async def read_history(
        request: Request,
        name: Annotated[str, _id_path(cycle)],
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    ) -> History:
        async with open_work() as work:
            record_of(name, await _register_for(caller(request), work))
            found = [ActEntry(**one) for one in await work.acts.history(cycle.kind, name, after, PAGE)]
        return History(data=found, next=found[-1].number if len(found) == PAGE else None)


def _add_differences(router: APIRouter, caller: Callable[[Request], Caller], open_work: OpenWork) -> None:
    @router.get(f"/{PROTOCOLS.plural}/{{name}}/difference")
    @refuses(RoleMayNot, NotAPartner, NotFound)
    async def difference(request: Request, name: Annotated[str, _id_path(PROTOCOLS)]) -> Differences:
        """Every cell in which a version of a protocol differs from the one before it, in words."""
        async with open_work() as work:
            register = await _register_for(caller(request), work)
        protocol, _, version = name.rpartition(".")
        new = register.get(SharingVersion.kind, name)
        old = register.get(SharingVersion.kind, f"{protocol}.{int(version) - 1}")
        if new is None or old is None:
            raise NotFound
        return Differences(data=list(differences(old.content.document, new.content.document)))


def _asked_area(area: Annotated[AreaCode | None, Query()] = None) -> str | None:
    """The area in which everything shown lies, so that a district sees its own."""
    return area


def _no_area() -> None:
    """What lies nowhere is listed whole."""


def _add_tables(router: APIRouter, caller: Callable[[Request], Caller], open_work: OpenWork) -> None:
    @router.get("/recommendations.csv", response_class=CsvResponse)
    @refuses(RoleMayNot, NotAPartner)
    async def recommendations_table(request: Request) -> Response:
        """Every joint recommendation as CSV, by id; without formulas, and fit to be sent to another `PUT`."""
        async with open_work() as work:
            register = await _register_for(caller(request), work)
        return CsvResponse(recommendations_csv(register))

    @router.get(f"/{HISTORIES.plural}/{{name}}/table", response_class=CsvResponse)
    @refuses(RoleMayNot, NotAPartner, NotFound)
    async def history_table(request: Request, name: Annotated[str, _id_path(HISTORIES)]) -> Response:
        """The file that waits, to be looked at before it is confirmed; without formulas."""
        async with open_work() as work:
            register = await _register_for(caller(request), work)
        found = register.get(HISTORIES.kind, name)
        if found is None or not found.content.table:
            raise NotFound
        return CsvResponse(found.content.table)


def _id_path(cycle: LifeCycle) -> Any:
    return Path(pattern=KINDS[cycle.id_kind].pattern)


def _view_of(content: type[Content]) -> type[BaseModel]:
    """What is shown of an aggregate: everything but what it hides."""
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in content.model_fields.items()
        if name not in content.hidden
    }
    return create_model(f"{content.__name__}View", **fields)


async def _register_for(person: Caller, work: Work) -> GovernanceRegister:
    """How everything stands, for whoever takes part in any role."""
    if person.role not in PEOPLE:
        raise RoleMayNot
    register = await work.acts.register()
    check_partner(person.agency, register)
    return register
