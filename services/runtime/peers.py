"""Services speak to each other over mutual TLS; each proves its name by its certificate."""

import asyncio
import ssl
from typing import Any, Final

import httpx2

from schemas.wire.topic import host_of
from services.runtime.settings import TlsSettings

ANSWER_WITHIN_SECONDS: Final = 2.0
KEPT_SECONDS: Final = 10.0
"""How long a connection is kept for the next request; a port closes it after fifteen, a handshake is dear."""

ANSWER_BYTES_MAX: Final = 1 << 20
PLAIN: Final = {"accept": "application/json", "accept-encoding": "identity"}
"""What is packed could be large without end once it is unpacked."""


class AnswerTooLong(ValueError):
    """Somebody answers more than any of ours does, or packed, so that it could be."""


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
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEPT_SECONDS)
    return httpx2.AsyncClient(
        base_url=base_url,
        verify=context,
        timeout=seconds,
        event_hooks=hooks,
        limits=limits,
        trust_env=False,
    )


async def answer_within(
    seconds: float,
    client: httpx2.AsyncClient,
    method: str,
    url: str,
    *,
    bytes_max: int = ANSWER_BYTES_MAX,
    **sent: Any,
) -> tuple[int, bytes]:
    """Status and content of an answer, however slowly and however much somebody would send.

    `sent` is `json` or `data`. Raises TimeoutError, AnswerTooLong, and what httpx2 raises.
    """
    content = bytearray()
    async with (
        asyncio.timeout(seconds),
        client.stream(method, url, headers=PLAIN, **sent) as answer,
    ):
        if "content-encoding" in answer.headers:  # a few bytes could become any number
            raise AnswerTooLong
        async for piece in answer.aiter_bytes():
            content += piece
            if len(content) > bytes_max:
                raise AnswerTooLong
    return answer.status_code, bytes(content)
