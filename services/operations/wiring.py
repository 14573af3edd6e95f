"""Puts operations together."""

import base64
from dataclasses import replace
from functools import partial
from typing import Final

from fastapi import APIRouter

from schemas.topics import TOPICS, written_by
from services.operations.acts_api import acts_routes
from services.operations.api import sight_routes
from services.operations.console.entry import NAME, console_app, console_of
from services.operations.console.routes import OperationsConsole
from services.operations.console.source import InstallationSource
from services.operations.domain.streams import StreamsStanding
from services.operations.doors import DOOR_SECONDS, ServiceDoors
from services.operations.grants_api import grant_routes
from services.operations.measurements import measure
from services.operations.plans import Plans
from services.operations.probe import Probe
from services.operations.receipts import ReceiptKey
from services.operations.sampler import SAMPLE_SECONDS, Sampler
from services.operations.settings import Settings
from services.operations.sights import read_streams
from services.operations.store.grants import GrantStore
from services.operations.store.plans import PlanStore
from services.operations.store.samples import SampleStore
from services.runtime.brokers_sight import look_at_brokers
from services.runtime.clock import Clock, SteadyClock
from services.runtime.consoles.open_id import OpenIdClient, answer_path, issuer_http
from services.runtime.database import Database
from services.runtime.identity import Identity
from services.runtime.peers import internal_client
from services.runtime.process import Parts, Runtime
from services.runtime.sweeper import Sweeper
from services.runtime.web import caller_of, create_app

ISSUER_SECONDS: Final = 300.0
"""How often the issuer is looked at, so that its absence is told before somebody wants to sign in."""
PLANS_SECONDS: Final = 0.2
"""How often it is looked what is due of plans."""


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Operations answers its operators; it reads no topic, and holds no key of any packet."""
    grants = runtime.database.opener(lambda one: GrantStore(one, runtime.clock.now()))
    steady = SteadyClock()
    sampler = sampler_of(runtime.identity, runtime.database, settings, steady)
    probes = [Probe(settings.probe, runtime.database, runtime.clock)] if settings.probe else []
    doors = doors_of(settings)
    key = ReceiptKey(base64.b64decode(settings.receipt_key_file.read_text()), runtime.identity.cell)
    plans = plans_of(runtime, settings, doors, key)
    carrying = Sweeper("plans", PLANS_SECONDS, plans.carry_out)
    plans.wake = carrying.wake
    operators = APIRouter()
    operators.include_router(grant_routes(grants))
    operators.include_router(acts_routes(plans, doors, runtime.clock, key.public))

    def streams() -> StreamsStanding:
        standings = (probe.standing for probe in probes if probe.standing)
        told = [replace(one, facts_seen_at=sampler.probe_seen_at) for one in standings]
        return replace(sampler.streams, probe=told[0] if told else None)

    operators.include_router(sight_routes(streams, lambda: sampler.parts))
    parts = Parts(
        writes=written_by("operations"),
        operators=operators,
        sweepers=(carrying, Sweeper("samples", SAMPLE_SECONDS, sampler.sweep), *probes),
        alarms=(plans.alarms, sampler.alarms),
        measurements=(lambda: measure(sampler.streams, steady.now()),),
        closes=(doors.close, sampler.close, *(probe.close for probe in probes)),
    )
    if settings.console is None:  # nobody signs people in, and whoever holds the certificate has the command
        return replace(parts, api=create_app("Operations", caller_of))
    http = issuer_http()
    issuer = OpenIdClient(settings.console, answer_path(NAME), runtime.clock, http)
    console = console_of(settings.console, runtime.database, issuer, runtime.clock)
    source = InstallationSource(streams, lambda: sampler.parts, plans, doors, runtime.clock)
    app = console_app(console)
    app.include_router(OperationsConsole(source, console, steady).router())
    return replace(
        parts,
        api=app,
        sweepers=(*parts.sweepers, Sweeper("issuer", ISSUER_SECONDS, issuer.look)),
        closes=(*parts.closes, http.aclose),
    )


def doors_of(settings: Settings) -> ServiceDoors:
    """The way to every service, with this one's certificate."""
    assert settings.tls  # noqa: S101  the internal port needs it too
    tls = settings.tls
    return ServiceDoors(
        {
            name: internal_client(tls, name, base_url=url, seconds=DOOR_SECONDS)
            for name, url in settings.services.items()
        }
    )


def plans_of(runtime: Runtime, settings: Settings, doors: ServiceDoors, key: ReceiptKey) -> Plans:
    """Plans of acts, which command and pages share."""
    return Plans(
        runtime.database.opener(lambda one: PlanStore(one, runtime.outbox)),
        doors,
        runtime.clock,
        rate=settings.letters_per_second,
        sign=key.sign,
    )


def sampler_of(identity: Identity, database: Database, settings: Settings, clock: Clock) -> Sampler:
    """Asks every service, and the brokers, as the table of topics names them."""
    tls, brokers = settings.tls, settings.kafka
    namespace = identity.namespace
    streams = read_streams(namespace)
    names, groups = [one.name(namespace) for one in TOPICS], sorted({one.group for one in streams})
    return Sampler(
        {name: internal_client(tls, name, base_url=url) for name, url in settings.services.items()},
        streams,
        {name: [one.name(namespace) for one in written_by(name)] for name in settings.services},
        partial(look_at_brokers, brokers, names, groups),
        database.opener(SampleStore),
        clock,
    )
