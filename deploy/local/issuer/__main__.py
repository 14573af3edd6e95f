"""`python -m deploy.local.issuer`: the local issuer, on sockets that its supervisor bound."""

import asyncio
import json
import signal
from pathlib import Path

import uvloop
from fastapi import FastAPI
from joserfc.jwk import ECKey

from deploy.local.issuer.app import Issuer, issuer_app
from deploy.local.issuer.clients import read_clients
from deploy.local.issuer.persons import Persons
from services.runtime.clock import SystemClock
from services.runtime.logs import configure, log
from services.runtime.ports import servers_of
from services.runtime.settings import LOCAL_ISSUER, PortSettings, ProcessSettings
from services.runtime.web import caller_of, create_app


class IssuerProcessSettings(ProcessSettings):
    """What the local issuer is told."""

    name: str
    """The address under which it is asked, which tokens name."""
    key_file: Path
    clients_file: Path
    persons_file: Path
    ports: PortSettings = PortSettings()


async def serve(settings: IssuerProcessSettings) -> None:
    """Answer until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    clock = SystemClock()
    key = ECKey.import_key(json.loads(settings.key_file.read_text()))
    issuer = Issuer(settings.name, settings.cell, key, read_clients(settings.clients_file), clock)
    app = issuer_app(issuer, Persons(settings.persons_file, clock), LOCAL_ISSUER)
    servers = servers_of(settings.ports, health=_probes(), api=app)
    async with asyncio.TaskGroup() as group:
        for server, sockets in servers:
            group.create_task(server.serve(sockets))
        log().info("service_started")
        await stopping.wait()
        for server, _ in servers:
            server.end()


def _probes() -> FastAPI:
    """It needs nothing else that runs: while it answers, it is ready."""
    app = create_app("issuer", caller_of)

    @app.get("/livez")
    @app.get("/startupz")
    @app.get("/readyz")
    async def readyz() -> dict[str, object]:
        return {"process": "issuer", "alarms": []}

    return app


def main() -> None:
    """Run the process."""
    settings = IssuerProcessSettings.from_environment()
    configure("issuer")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    main()
