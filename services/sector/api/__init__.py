"""HTTP for the agencies of a sector."""

from typing import Any

from fastapi import FastAPI

from services.runtime.openapi import serve_openapi
from services.runtime.web import create_app
from services.sector.api.approvals import approval_routes
from services.sector.api.asking import Engine, FeedNotifier
from services.sector.api.closing import closing_routes
from services.sector.api.keys import key_routes
from services.sector.api.listening import listening_routes
from services.sector.api.packets import packet_routes, release_app
from services.sector.api.reading import reading_routes
from services.sector.api.steps import step_routes
from services.sector.domain.profile import Profile

__all__ = ["Engine", "FeedNotifier", "described_app", "release_app", "sector_app"]


def sector_app(engine: Engine) -> FastAPI:
    """The application on the agencies' port of one sector."""
    app = create_app(engine.profile.calls_itself, engine.caller)
    for routes in (
        step_routes, closing_routes, key_routes, packet_routes,
        approval_routes, reading_routes, listening_routes,
    ):  # fmt: skip
        app.include_router(routes(engine))
    serve_openapi(app)
    return app


def described_app(profile: Profile) -> FastAPI:
    """The routes of a sector without anything behind them, for its document."""
    nothing: Any = None
    return sector_app(Engine(profile, *[nothing] * 8))
