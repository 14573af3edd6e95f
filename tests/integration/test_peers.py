"""Services meet by their certificates' names: whoever is not the named peer learns nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import Request

from services.runtime.peers import internal_client
from services.runtime.ports import QuietServer, listening
from services.runtime.web import caller_of, create_app
from tests.support.platform import CELL, Space


@asynccontextmanager
async def a_server(space: Space, name: str) -> AsyncIterator[str]:
    app = create_app("tried", caller_of)

    @app.get("/")
    async def who(request: Request) -> str:
        return caller_of(request)

    bound = socket.create_server(("127.0.0.1", 0))
    server = QuietServer(listening(app, space.tls_settings(name)))
    task = asyncio.create_task(server.serve([bound]))
    try:
        yield f"https://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.end()
        await task


async def test_each_end_knows_the_other_by_its_name(space: Space) -> None:
    async with (
        a_server(space, "audit") as address,
        internal_client(space.tls_settings("social_services"), "audit", base_url=address) as client,
    ):
        answer = await client.get("/")

    assert answer.json() == f"urn:concert:{CELL}:social_services"


@pytest.mark.parametrize("other", ["health", "social_services", "operator"])
async def test_a_server_with_another_name_is_told_nothing(space: Space, other: str) -> None:
    async with (
        a_server(space, other) as address,
        internal_client(space.tls_settings("police"), "audit", base_url=address) as client,
    ):
        with pytest.raises(httpx2.ConnectError):
            await client.get("/")


async def test_without_a_certificate_nobody_gets_in(space: Space) -> None:
    async with a_server(space, "audit") as address, httpx2.AsyncClient(verify=False) as client:
        with pytest.raises(httpx2.TransportError):
            await client.get(address)
