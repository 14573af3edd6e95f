"""What she may change her mind about: her consent's next version, her case's erasure; and who holds what."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from services.runtime.errors import NotFound
from services.runtime.openapi import refuses
from services.sector.api import asking
from services.sector.api.answers import REPLAYED, ConsentReceipt, ErasureReceipt, Holders, kept
from services.sector.domain import refusals
from services.sector.domain.bodies import ErasureRequest, VersionRequest
from services.sector.domain.requests import Asker
from services.sector.handlers import closures, looks
from services.sector.handlers.requests import KeyedRequest, check_admitted


def closing_routes(engine: asking.Engine) -> APIRouter:
    """The routes that close something before they do the rest, and the list of holders."""
    router = APIRouter(prefix="/v1", tags=["closing"])
    # With a new version she may agree to less: until then releases rest on the one before.
    keyed = Depends(asking.once_of(engine, "ask", has_room_always=True))
    erasing = Depends(asking.once_of(engine, "erase"))

    @router.post(
        "/cases/{case}/consents/{consent}/versions",
        operation_id="record_consent_version",
        **kept(201, ConsentReceipt),
    )
    @refuses(NotFound, refusals.TooManyConsents, refusals.RecipientNotAdmitted, refusals.ClosureUnderWay)
    async def post_version(
        case: asking.CasePath,
        consent: asking.ConsentPath,
        once: Annotated[KeyedRequest, keyed],
        body: VersionRequest,
    ) -> JSONResponse:
        """Record what she agrees to from now on; the version before rules no release any more."""
        return await asking.close_and_answer(
            engine, once, lambda work: closures.close_replaced(case, consent, body, once, work)
        )

    @router.post(
        "/cases/{case}/erasures",
        operation_id="erase_case",
        status_code=202,
        response_model=ErasureReceipt,
        responses={202: {"headers": REPLAYED}},
    )
    @refuses(NotFound, refusals.ClosureUnderWay)
    async def post_erasure(
        case: asking.CasePath, once: Annotated[KeyedRequest, erasing], body: ErasureRequest
    ) -> JSONResponse:
        """Erase a case: what she told is deleted, and every holder is asked to do the same."""
        return await asking.close_and_answer(
            engine, once, lambda work: closures.close_erased(case, body, once.by, work)
        )

    @router.get("/cases/{case}/holders", operation_id="list_holders", response_model=Holders)
    @refuses(NotFound, refusals.TrailUnavailable)
    async def get_holders(
        case: asking.CasePath,
        by: Annotated[Asker, Depends(asking.asker_of(engine, "look"))],
        why: Annotated[str, Depends(asking.purpose)],
    ) -> JSONResponse:
        """Which agency was given which groups of a case, and whether it has sealed them."""
        async with asking.noting_denials(engine, by, None):
            async with engine.read() as work:
                await check_admitted(by, work)
                look = await looks.look_at_case(case, by, why, work)
            rows = await engine.show(look, lambda work: looks.holders_of(case, by, work))
        return JSONResponse({"data": rows})

    return router
