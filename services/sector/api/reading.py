"""What shows something of a person: each answer waits for the trail, and without it nothing is shown."""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter

from schemas.events.access import Item
from schemas.events.life_cycle import PartyName, State
from schemas.wire.body import Instant
from services.runtime.errors import NotFound
from services.runtime.openapi import refuses
from services.sector.api import asking
from services.sector.api.answers import NUMBER, CaseList, CasePage, ReferralList, ReferralPage
from services.sector.domain.refusals import (
    ConsentDoesNotCover,
    CursorUnreadable,
    SubjectNotRegistered,
    TrailUnavailable,
)
from services.sector.domain.requests import Asker
from services.sector.domain.views import ReferralView
from services.sector.handlers import looks
from services.sector.handlers.requests import check_admitted
from services.sector.handlers.work import Case, Place, Work

Shown = TypeVar("Shown")
_INSTANT: Final = TypeAdapter[datetime](Instant)


def reading_routes(engine: asking.Engine) -> APIRouter:
    """The routes that ask the trail first."""
    router = APIRouter(prefix="/v1", tags=["reading"])
    asker = Depends(asking.asker_of(engine, "look"))

    @router.get(
        "/referrals/{referral}",
        operation_id="show_referral",
        response_model=ReferralPage,
        responses={
            200: {"headers": NUMBER},
            304: {"description": "If-None-Match names the last fact.", "headers": NUMBER},
        },
    )
    @refuses(NotFound, ConsentDoesNotCover, TrailUnavailable)
    async def get_referral(
        referral: asking.ReferralPath,
        by: Annotated[Asker, asker],
        why: Annotated[str, Depends(asking.purpose)],
        known: Annotated[frozenset[int] | None, Depends(asking.already_known)],
    ) -> Response:
        """One referral as the agency may see it, with the number of its last fact as ETag."""
        async with asking.noting_denials(engine, by, referral):
            async with engine.read() as work:
                await check_admitted(by, work)
                look = await looks.look_at_referral(referral, by, why, work)
            view = await engine.show(look, lambda work: looks.own_view(referral, by, work))
        tag = {"ETag": f'"{view.number}"'}
        if known is None or view.number in known:
            return Response(status_code=304, headers=tag)  # the look is in the trail all the same
        return JSONResponse(dict(looks.page_of(view)), headers=tag)

    @router.get("/cases/{case}", operation_id="show_case", response_model=CasePage)
    @refuses(NotFound, TrailUnavailable)
    async def get_case(
        case: asking.CasePath, by: Annotated[Asker, asker], why: Annotated[str, Depends(asking.purpose)]
    ) -> JSONResponse:
        """One of the agency's own cases."""
        async with asking.noting_denials(engine, by, None):
            async with engine.read() as work:
                await check_admitted(by, work)
                look = await looks.look_at_case(case, by, why, work)
            page = await engine.show(look, lambda work: looks.case_page(case, by, work))
        return JSONResponse(dict(page))

    @router.get("/worklist", operation_id="show_worklist", response_model=ReferralList)
    @refuses(CursorUnreadable, TrailUnavailable)
    async def get_worklist(
        by: Annotated[Asker, asker],
        why: Annotated[str, Depends(asking.purpose)],
        limit: asking.PageLimit = asking.PAGE_USUAL,
        after: str | None = None,
    ) -> JSONResponse:
        """What awaits the agency, newest first; an empty list is a look too."""
        async with asking.noting_denials(engine, by, None), engine.read() as work:
            await check_admitted(by, work)
            places = await work.views.awaiting(by.agency, place_of(after), limit + 1)
        views = await show_referrals(engine, "awaits_agency", places[:limit], by, why)
        rows = [looks.row_of(view) for view in views if view.is_awaited]  # not what was settled meanwhile
        return page(rows, places, limit)

    @router.get("/referrals", operation_id="list_referrals", response_model=ReferralList)
    @refuses(CursorUnreadable, TrailUnavailable)
    async def get_referrals(
        by: Annotated[Asker, asker],
        why: Annotated[str, Depends(asking.purpose)],
        role: PartyName = "owner",
        state: State | None = None,
        limit: asking.PageLimit = asking.PAGE_USUAL,
        after: str | None = None,
    ) -> JSONResponse:
        """What the agency asked of others, or was asked by them, in one state or in any; newest first."""
        async with asking.noting_denials(engine, by, None), engine.read() as work:
            await check_admitted(by, work)
            places = await work.views.listed(by.agency, role, state, place_of(after), limit + 1)
        code: looks.ListCode = "is_owner" if role == "owner" else "is_receiver"
        views = await show_referrals(engine, code, places[:limit], by, why)
        return page([looks.row_of(view) for view in views], places, limit)

    @router.get("/cases", operation_id="list_cases", response_model=CaseList)
    @refuses(CursorUnreadable, TrailUnavailable)
    async def get_cases(
        by: Annotated[Asker, asker],
        why: Annotated[str, Depends(asking.purpose)],
        limit: asking.PageLimit = asking.PAGE_USUAL,
        after: str | None = None,
    ) -> JSONResponse:
        """The agency's own cases, newest first."""
        async with asking.noting_denials(engine, by, None), engine.read() as work:
            await check_admitted(by, work)
            cases = await work.cases.listed(by.agency, place_of(after, "case"), limit + 1)
        shown = {case.subject: case for case in cases[:limit]}

        async def load(items: Sequence[Item], _work: Work) -> Sequence[Case]:
            return [shown[item.subject] for item in items]

        rows = await show_list(engine, "is_owner", [Item(subject=one) for one in shown], by, why, load)
        places = [(case.opened_at, case.id) for case in cases]
        return page([looks.case_row(case) for case in rows], places, limit)

    return router


def page(rows: Sequence[Mapping[str, Any]], places: Sequence[Place], limit: int) -> JSONResponse:
    """A page of a list; where there are more places than it shows, where the next one begins."""
    following = cursor_of(places[limit - 1]) if len(places) > limit else None
    return JSONResponse({"data": [dict(row) for row in rows], "next": following})


async def show_referrals(
    engine: asking.Engine, code: looks.ListCode, places: Sequence[Place], by: Asker, why: str
) -> Sequence[ReferralView]:
    """The agency's referrals at these places, as far as the trail knows them."""

    async def load(items: Sequence[Item], work: Work) -> Sequence[ReferralView]:
        return await work.views.find([item.subject for item in items], by.agency)

    items = [Item(subject=referral, referral=referral) for _, referral in places]
    return await show_list(engine, code, items, by, why, load)


async def show_list(
    engine: asking.Engine,
    code: looks.ListCode,
    items: Sequence[Item],
    by: Asker,
    why: str,
    load: Callable[[Sequence[Item], Work], Awaitable[Sequence[Shown]]],
) -> Sequence[Shown]:
    """Show the rows of a list; those that the trail does not know yet are left out, and hold up no other."""

    async def shown(of: Sequence[Item]) -> Sequence[Shown]:
        return await engine.show(looks.look_at_list(code, of, by, why), lambda work: load(of, work))

    try:
        return await shown(items)
    except SubjectNotRegistered as unknown:
        known = [item for item in items if item.subject not in unknown.subjects]
        if len(known) == len(items):
            raise
        return await shown(known)


def cursor_of(place: Place) -> str:
    """A place in a list as opaque text."""
    at, named = place
    return base64.urlsafe_b64encode(f"{at.isoformat()} {named}".encode()).decode()


def place_of(cursor: str | None, kind: str = "referral") -> Place | None:
    """The place that a cursor means."""
    if cursor is None:
        return None
    try:
        at, _, named = base64.b64decode(cursor, b"-_", validate=True).decode().partition(" ")
        place = _INSTANT.validate_python(at), named
    except ValueError:  # letters that are no base64, bytes that are no text, instants that no calendar has
        raise CursorUnreadable from None
    if not asking.looks_like(kind, named):
        raise CursorUnreadable
    return place
