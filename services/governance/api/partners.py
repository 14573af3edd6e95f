"""Governance for partners, on their own port: whoever has a token of the issuer is heard."""

from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel

from services.governance.api.acts import act_routes
from services.governance.api.operators import OpenWork
from services.governance.domain.areas import AreaEntry, Areas
from services.runtime.openapi import serve_openapi
from services.runtime.tokens import Caller
from services.runtime.web import create_app


class AreaList(BaseModel):
    """Every area that this installation knows; the tree is read whole, and needs no cursor."""

    data: list[AreaEntry]
    next: None = None


def partners_app(caller_of: Callable[[Request], Caller], open_work: OpenWork, areas: Areas) -> FastAPI:
    """The application on the partners' port; `caller_of` says who asks, or refuses."""

    def caller(request: Request) -> Caller:
        return caller_of(request)

    app = create_app("Partnership", caller_of)
    app.include_router(_area_routes(areas), dependencies=[Depends(caller)])
    app.include_router(act_routes(caller, open_work))
    serve_openapi(app)
    return app


def described_app() -> FastAPI:
    """The routes without anything behind them, for their document."""
    nothing: Any = None
    return partners_app(lambda request: nothing, nothing, nothing)


def _area_routes(areas: Areas) -> APIRouter:
    router = APIRouter(prefix="/v1")
    text = cache(lambda: AreaList(data=list(areas)).model_dump_json())  # once: it never changes

    @router.get("/areas", operation_id="list_areas", response_model=AreaList)
    async def list_areas() -> Response:
        """Every area as `{code, parent, level, name}`; a country has no parent."""
        return Response(text(), media_type="application/json")

    return router
