"""Governance for partners, on their own port: whoever has a token of the issuer is heard."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from pydantic import BaseModel

from services.governance.api.acts import act_routes
from services.governance.api.operators import OpenWork
from services.governance.domain.areas import AreaEntry, Areas
from services.governance.domain.figures import Indicator
from services.governance.domain.histories import HISTORIES
from services.runtime.errors import NotFound
from services.runtime.openapi import refuses, serve_openapi
from services.runtime.requests import CSV_FORM
from services.runtime.tokens import Caller
from services.runtime.web import create_app

OPEN: Final[dict[str, Any]] = {"security": []}
"""What OpenAPI says of a route that asks nobody for a token."""


class AreaList(BaseModel):
    """Every area that this installation knows; the tree is read whole, and needs no cursor."""

    data: list[AreaEntry]
    next: None = None


class IndicatorList(BaseModel):
    """Everything that is counted, each as the statement that counts it; short enough to need no cursor."""

    data: list[Indicator]
    next: None = None


def partners_app(
    caller_of: Callable[[Request], Caller],
    open_work: OpenWork,
    areas: Areas,
    indicators: Mapping[str, Indicator],
) -> FastAPI:
    """The application on the partners' port; `caller_of` says who asks, or refuses."""

    def caller(request: Request) -> Caller:
        return caller_of(request)

    app = create_app("Partnership", caller_of, forms={("PUT", f"/v1/{HISTORIES.plural}/"): CSV_FORM})
    app.include_router(_area_routes(areas), dependencies=[Depends(caller)])
    app.include_router(act_routes(caller, open_work))
    app.include_router(indicator_routes(indicators))
    serve_openapi(app)
    return app


def described_app() -> FastAPI:
    """The routes without anything behind them, for their document."""
    nothing: Any = None
    return partners_app(lambda request: nothing, nothing, nothing, nothing)


def indicator_routes(indicators: Mapping[str, Indicator]) -> APIRouter:
    """What is counted and how, for anybody: the same text for all, and no figure among it."""
    router = APIRouter(prefix="/v1")

    @router.get("/indicators", openapi_extra=OPEN)
    async def list_indicators() -> IndicatorList:
        """Every indicator: its definition, its parts, and its statement; no token is needed."""
        return IndicatorList(data=list(indicators.values()))

    @router.get("/indicators/{name}", openapi_extra=OPEN)
    @refuses(NotFound)
    async def read_indicator(name: Annotated[str, Path(pattern="^[0-9]{1,2}[a-z]?$")]) -> Indicator:
        """One indicator; no token is needed."""
        if name not in indicators:
            raise NotFound
        return indicators[name]

    return router


def _area_routes(areas: Areas) -> APIRouter:
    router = APIRouter(prefix="/v1")
    text = cache(lambda: AreaList(data=list(areas)).model_dump_json())  # once: it never changes

    @router.get("/areas", operation_id="list_areas", response_model=AreaList)
    async def list_areas() -> Response:
        """Every area as `{code, parent, level, name}`; a country has no parent."""
        return Response(text(), media_type="application/json")

    return router
