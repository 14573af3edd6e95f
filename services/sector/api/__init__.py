"""HTTP for the agencies of a sector."""

from fastapi import FastAPI

from services.runtime.web import create_app
from services.sector.api.asking import Engine
from services.sector.api.listening import FeedBell, listening_routes
from services.sector.api.reading import reading_routes
from services.sector.api.steps import step_routes

__all__ = ["Engine", "FeedBell", "sector_app"]


def sector_app(engine: Engine) -> FastAPI:
    """The application on the agencies' port of one sector."""
    app = create_app(engine.profile.calls_itself, engine.caller)
    for routes in (step_routes, reading_routes, listening_routes):
        app.include_router(routes(engine))
    return app
