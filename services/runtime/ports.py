"""A process's ports: agencies' and probes' in the clear on loopback, the internal one over mutual TLS."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.types import ASGIApp
from uvicorn import Config, Server

from services.runtime import connections, refusals
from services.runtime.errors import Refused
from services.runtime.identity import Identity
from services.runtime.requests import DRAINING
from services.runtime.settings import PortSettings, TlsSettings
from services.runtime.web import caller_of, create_app

_COMMON: Final[Mapping[str, Any]] = {
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "timeout_graceful_shutdown": 3,
    "timeout_keep_alive": int(connections.HEADER_SECONDS),
    "h11_max_incomplete_event_size": connections.HEADER_BYTES_MAX,
    "ws": "none",
}
DATE_SECONDS: Final = 1.0


class WrongPorts(Exception):
    """Ports that would be bound and served by nobody, or served to whoever comes."""


class QuietServer(Server):
    """uvicorn without signals of its own, for the process has one way out, and with quick handshakes."""

    def __init__(self, config: Config, opens: Callable[[], Awaitable[None]] | None = None) -> None:
        """`opens` returns once requests may be taken."""
        super().__init__(config)
        self._opens = opens
        self._draining = asyncio.Event()
        self._ending = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Any:
        """Leave signals to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets given; uvicorn alone would wait a minute for each handshake."""
        if self._opens and not await self._opened(self._opens):
            for one in sockets or ():
                one.close()
            return
        config, state, shared = self.config, self.server_state, {DRAINING: self._draining}

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(config=config, server_state=state, app_state=shared)  # type: ignore[call-arg]

        seconds = connections.HANDSHAKE_SECONDS if config.ssl else None
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                protocol, sock=one, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=seconds
            )
            for one in sockets or ()
        ]
        self.started = True

    async def _opened(self, opens: Callable[[], Awaitable[None]]) -> bool:
        """Wait until requests may be taken; false where the process ends first."""
        waits = [asyncio.ensure_future(opens()), asyncio.ensure_future(self._ending.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
        return not self._ending.is_set()

    def end(self) -> None:
        """Take no more requests and let those in hand have their answers."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Keep the date in answers; uvicorn alone would look ten times a second whether it is to end."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), DATE_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let who waits for news have its answer, then end; what takes longer than the grace is told so."""
        self._draining.set()
        await super().shutdown(sockets)


def internal_app(
    app: FastAPI | None,
    operators: Sequence[APIRouter],
    identity: Identity,
    neighbours: Sequence[APIRouter] = (),
    acts: Sequence[APIRouter] = (),
) -> FastAPI | None:
    """The internal port's application, if there is anything to ask it; `acts` is for operations alone."""
    if not (operators or acts):
        return app
    app = app or create_app(identity.service, caller_of)
    for router in operators:
        app.include_router(router, dependencies=[_alone(identity.operator, refusals.OperatorOnly)])
    for router in acts:
        app.include_router(router, dependencies=[_alone(identity.operations, refusals.OperationsOnly)])
    for router in neighbours:  # who may ask what they check themselves
        app.include_router(router)
    return app


def _alone(name: str, refused: type[Refused]) -> Any:
    """Lets in whoever has the certificate with this URI name."""

    async def check(request: Request) -> None:
        if caller_of(request) != name:
            raise refused

    return Depends(check)


def servers_of(
    ports: PortSettings,
    *,
    health: ASGIApp,
    api: ASGIApp | None = None,
    internal: ASGIApp | None = None,
    tls: TlsSettings | None = None,
    internal_opens: Callable[[], Awaitable[None]] | None = None,
) -> list[tuple[QuietServer, list[socket.socket]]]:
    """A server for each port that has something to serve, with its socket; raises WrongPorts."""
    configs: dict[str, Config] = {"health": listening(health)}
    if api:
        configs["api"] = listening(api)
    if internal:
        if tls is None:
            raise WrongPorts("the internal port needs a certificate; set CONCERT_TLS__… for this process")
        configs["internal"] = listening(internal, tls)
    sockets = _inherited_sockets()
    if unserved := sorted(sockets.keys() - configs.keys()):
        raise WrongPorts(f"nobody serves {', '.join(unserved)} here; take it out of CONCERT_SOCKETS")
    return [
        (
            QuietServer(config, internal_opens if name == "internal" else None),
            [_socket_of(sockets.get(name), getattr(ports, name))],
        )
        for name, config in configs.items()
    ]


def listening(app: ASGIApp, tls: TlsSettings | None = None) -> Config:
    """How a port listens: with TLS, only peers whose certificate the authority signed get a connection."""
    secured: Mapping[str, Any] = {}
    if tls:
        secured = {
            "ssl_certfile": str(tls.certificate_file),
            "ssl_keyfile": str(tls.key_file),
            "ssl_ca_certs": str(tls.authority_file),
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
    return Config(app, http=connections.BoundedProtocol, **_COMMON, **secured)


def _inherited_sockets() -> dict[str, int]:
    """Sockets that whoever started this process bound for it: `CONCERT_SOCKETS=api=7,health=9`."""
    named = os.environ.get("CONCERT_SOCKETS", "")
    pairs = (pair.partition("=") for pair in named.split(",") if pair)
    return {name: int(number) for name, _, number in pairs}


def _socket_of(inherited: int | None, port: int) -> socket.socket:
    if inherited is not None:
        return socket.socket(fileno=inherited)
    # With the protocol named: asyncio leaves Nagle on without it.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen(512)  # whoever comes before the process is ready waits, as with sockets handed over
    except BaseException:
        bound.close()
        raise
    return bound
