"""What she told an agency: each field group is written by a PUT, and read by a pull alone."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from schemas.events.packet import GROUP_MODELS, PacketPart
from services.runtime.errors import NotFound
from services.runtime.openapi import refuses
from services.sector.api import asking
from services.sector.api.answers import REPLAYED, GroupReceipt
from services.sector.domain.refusals import IntakeMissing, TooManyVersions
from services.sector.handlers.packets import write_group
from services.sector.handlers.requests import KeyedRequest


def packet_routes(engine: asking.Engine) -> APIRouter:
    """A route for each field group."""
    router = APIRouter(prefix="/v1", tags=["packets"])
    keyed = Depends(asking.once_of(engine, "ask"))
    for group, model in GROUP_MODELS.items():
        _add_group(router, engine, group, model, keyed)
    return router


def _add_group(
    router: APIRouter, engine: asking.Engine, group: str, model: type[PacketPart], keyed: Any
) -> None:
    content: Any = model

    @refuses(NotFound, IntakeMissing, TooManyVersions)
    async def put_group(
        case: asking.CasePath, once: Annotated[KeyedRequest, keyed], body: content
    ) -> JSONResponse:
        return await asking.answer(engine, once, lambda work: write_group(group, body, case, once.by, work))

    router.add_api_route(
        f"/cases/{{case}}/packet/{group}",
        put_group,
        methods=["PUT"],
        operation_id=f"write_{group}",
        summary=model.__doc__,
        response_model=GroupReceipt,
        responses={200: {"headers": REPLAYED}},
    )
