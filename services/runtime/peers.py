"""Services speak to each other over mutual TLS; each proves its name by its certificate."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2
from fastapi import FastAPI, Request
from uvicorn import Config

from schemas.wire.topic import host_of
from services.runtime.connections import HEADER_BYTES_MAX, HEADER_SECONDS, BoundedProtocol
from services.runtime.refusals import OperatorOnly
from services.runtime.requests import Receive, Scope, Send
from services.runtime.settings import TlsSettings
from services.runtime.web import caller_of

ANSWER_WITHIN_SECONDS: Final = 2.0


def operator_alone(operator: str) -> Callable[[Request], Awaitable[None]]:
    """A route's check that it is the operator who asks; `operator` is the URI name in that certificate."""

    async def check(request: Request) -> None:
        if caller_of(request) != operator:
            raise OperatorOnly

    return check


class CertifiedProtocol(BoundedProtocol):
    """Hands the application the peer's certificate, which uvicorn keeps to itself."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the certificate beside each request of the connection."""
        super().connection_made(transport)
        application = self.app
        extensions = {"peer_certificate": transport.get_extra_info("peercert")}

        async def certified(scope: Scope, receive: Receive, send: Send) -> None:
            await application({**scope, "extensions": extensions}, receive, send)

        self.app = certified


def internal_config(app: FastAPI, tls: TlsSettings) -> Config:
    """How the internal port listens: only peers whose certificate the authority signed get a connection."""
    return Config(
        app,
        http=CertifiedProtocol,
        ssl_certfile=str(tls.certificate_file),
        ssl_keyfile=str(tls.key_file),
        ssl_ca_certs=str(tls.authority_file),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        **COMMON,  # type: ignore[arg-type]
    )


def plain_config(app: FastAPI) -> Config:
    """How a port on loopback listens; what is in front of it adds TLS."""
    return Config(app, http=BoundedProtocol, **COMMON)  # type: ignore[arg-type]


COMMON: Final = {
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "timeout_graceful_shutdown": 3,
    "timeout_keep_alive": int(HEADER_SECONDS),
    "h11_max_incomplete_event_size": HEADER_BYTES_MAX,
    "ws": "none",
}


def internal_client(
    tls: TlsSettings, peer: str, *, base_url: str, seconds: float = ANSWER_WITHIN_SECONDS
) -> httpx2.AsyncClient:
    """A client that shows this service's certificate and speaks to nobody but the named peer."""
    context = ssl.create_default_context(cafile=str(tls.authority_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(tls.certificate_file, tls.key_file)

    async def name_the_peer(request: httpx2.Request) -> None:
        # Every service has a certificate of the same authority: only its name tells the trail from another.
        request.extensions["sni_hostname"] = host_of(peer)

    hooks = {"request": [name_the_peer]}
    return httpx2.AsyncClient(base_url=base_url, verify=context, timeout=seconds, event_hooks=hooks)
