"""The door of `/ops`: the shared one, with this service's roles behind it."""

from typing import Final, cast

from fastapi import FastAPI

from services.operations.domain.roles import Operator, OperatorRole
from services.operations.store.grants import GrantStore
from services.runtime.clock import Clock
from services.runtime.consoles.console import Console, ConsoleEntry
from services.runtime.consoles.open_id import OpenIdClient
from services.runtime.consoles.routes import EntryPages, entry_routes, show_refusals
from services.runtime.database import Database
from services.runtime.forms import FORM
from services.runtime.pages.answers import style_routes
from services.runtime.settings import ConsoleSettings
from services.runtime.web import create_app

NAME: Final = "ops"
GRANT_WORDS: Final = "concert operators grant"


def console_of(settings: ConsoleSettings, database: Database, issuer: OpenIdClient, clock: Clock) -> Console:
    """The console, without its pages."""
    return Console(NAME, settings, database, lambda one: GrantStore(one, clock.now()), issuer, clock)


def console_app(console: Console) -> FastAPI:
    """An application that lets people in and out; its other pages are included by wiring."""
    app = create_app("Operations", console.check_request, forms={("POST", f"/{NAME}"): FORM})
    pages = EntryPages(console, GRANT_WORDS)
    app.include_router(style_routes())
    app.include_router(entry_routes(console, pages))
    show_refusals(app, pages)
    return app


def operator_in(entry: ConsoleEntry) -> Operator:
    """Who a request is from, as acts and plans know them."""
    return Operator(entry.person, cast(OperatorRole, entry.role))
