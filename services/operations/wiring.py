"""Puts operations together."""

from dataclasses import replace
from typing import Final

from schemas.topics import written_by
from services.operations.console.entry import NAME, console_app, console_of
from services.operations.grants_api import grant_routes
from services.operations.probe import Probe
from services.operations.settings import Settings
from services.operations.store.grants import GrantStore
from services.runtime.consoles.open_id import OpenIdClient, answer_path, issuer_http
from services.runtime.process import Parts, Runtime
from services.runtime.sweeper import Sweeper
from services.runtime.web import caller_of, create_app

ISSUER_SECONDS: Final = 300.0
"""How often the issuer is looked at, so that its absence is told before somebody wants to sign in."""


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Operations answers its operators; it reads no topic, and holds no key of any packet."""
    grants = runtime.database.opener(lambda one: GrantStore(one, runtime.clock.now()))
    probes = [Probe(settings.probe, runtime.database, runtime.clock)] if settings.probe else []
    parts = Parts(
        writes=written_by("operations"),
        operators=grant_routes(grants),
        sweepers=probes,
        closes=[probe.close for probe in probes],
    )
    if settings.console is None:  # nobody signs people in, and whoever holds the certificate has the command
        return replace(parts, api=create_app("Operations", caller_of))
    http = issuer_http()
    issuer = OpenIdClient(settings.console, answer_path(NAME), runtime.clock, http)
    console = console_of(settings.console, runtime.database, issuer, runtime.clock)
    return replace(
        parts,
        api=console_app(console),
        sweepers=(*probes, Sweeper("issuer", ISSUER_SECONDS, issuer.look)),
        closes=(*parts.closes, http.aclose),
    )
