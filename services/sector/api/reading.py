"""What shows something of a person: each answer waits for the trail, and without it nothing is shown."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter

from schemas.wire.body import Instant
from services.runtime.errors import NotFound
from services.runtime.openapi import refuses
from services.sector.api import asking
from services.sector.api.answers import NUMBER, CasePage, ReferralPage, Worklist
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
from services.sector.handlers.work import Place

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

    @router.get("/worklist", operation_id="show_worklist", response_model=Worklist)
    @refuses(CursorUnreadable, TrailUnavailable)
    async def get_worklist(
        by: Annotated[Asker, asker],
        why: Annotated[str, Depends(asking.purpose)],
        limit: asking.PageLimit = asking.PAGE_USUAL,
        after: str | None = None,
    ) -> JSONResponse:
        """What awaits the agency, newest first; an empty list is a look too."""
        async with engine.read() as work:
            await check_admitted(by, work)
            places = await work.views.awaiting(by.agency, place_of(after), limit + 1)
        shown = places[:limit]
        referrals = [referral for _, referral in shown]
        views = await show_rows(engine, referrals, by, why)
        following = cursor_of(shown[-1]) if len(places) > limit else None
        rows = [looks.row_of(view) for view in views if view.is_awaited]  # not what was settled meanwhile
        return JSONResponse({"data": rows, "next": following})

    return router


async def show_rows(
    engine: asking.Engine, referrals: Sequence[str], by: Asker, why: str
) -> Sequence[ReferralView]:
    """Show the rows of a list; those that the trail does not know yet are left out, and hold up no other."""

    async def shown(of: Sequence[str]) -> Sequence[ReferralView]:
        look = looks.look_at_worklist(of, by, why)
        return await engine.show(look, lambda work: work.views.find(of, by.agency))

    try:
        return await shown(referrals)
    except SubjectNotRegistered as unknown:
        known = [referral for referral in referrals if referral not in unknown.subjects]
        if len(known) == len(referrals):
            raise
        return await shown(known)


def cursor_of(place: Place) -> str:
    """A place in a list as opaque text."""
    at, referral = place
    return base64.urlsafe_b64encode(f"{at.isoformat()} {referral}".encode()).decode()


def place_of(cursor: str | None) -> Place | None:
    """The place that a cursor means."""
    if cursor is None:
        return None
    try:
        at, _, referral = base64.b64decode(cursor, b"-_", validate=True).decode().partition(" ")
        place = _INSTANT.validate_python(at), referral
    except ValueError:  # letters that are no base64, bytes that are no text, instants that no calendar has
        raise CursorUnreadable from None
    if not asking.looks_like("referral", referral):
        raise CursorUnreadable
    return place
