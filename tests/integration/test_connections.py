"""Bytes at a port, as they come from outside: each gets its answer soon, and the next one is served."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from fastapi import FastAPI, Request
from structlog.testing import capture_logs

from services.runtime.connections import HEADER_BYTES_MAX, BoundedProtocol
from services.runtime.ports import QuietServer, listening
from services.runtime.requests import draining_of
from services.runtime.tokens import Unauthenticated
from services.runtime.web import create_app
from services.sector.api.packets import HandedOver
from services.sector.domain.refusals import ReleaseLate
from services.sector.handlers.pulls import HandOver
from tests.support.servers import LoopThread
from tests.support.waiting import until

ANSWERED_WITHIN_SECONDS = 10
FEW = 8


class Hasty(BoundedProtocol):
    connections_max = FEW
    header_seconds = 1.0
    unread_body_seconds = 0.5
    answer_taken_seconds = 0.5


@dataclass(frozen=True)
class Port:
    """A port on loopback, and the server behind it."""

    number: int
    server: QuietServer

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.number), timeout=ANSWERED_WITHIN_SECONDS)

    def send(self, *pieces: bytes) -> bytes:
        """All that comes back until the port closes."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # cut while we were still sending; the answer is here already
                for piece in pieces:
                    connection.sendall(piece)
            return all_of(connection)


def all_of(connection: socket.socket) -> bytes:
    """What comes until the port closes."""
    answer = b""
    with suppress(ConnectionError):
        while received := connection.recv(65_536):
            answer += received
    return answer


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def app() -> FastAPI:
    def caller(request: Request) -> None:
        if "authorization" not in request.headers:
            raise Unauthenticated

    app = create_app("tests", caller)

    @app.get("/v1/things/{name}")
    async def get_thing(name: str, limit: int = 0) -> str:
        return "x" * limit

    @app.post("/v1/things")
    async def post_thing(request: Request) -> int:
        return len(await request.body())

    @app.get("/v1/bugs")
    async def get_bug() -> None:
        raise RuntimeError

    @app.get("/v1/news")
    async def get_news(request: Request) -> str:
        await draining_of(request).wait()
        return "none"

    @app.get("/v1/sleeps")
    async def get_sleep() -> None:
        await asyncio.Event().wait()

    return app


@pytest.fixture(scope="module")
def port(app: FastAPI, loop: LoopThread) -> Iterator[Port]:
    with serving(app, loop) as port:
        yield port


@contextmanager
def serving(app: FastAPI, loop: LoopThread) -> Iterator[Port]:
    config = listening(app)
    config.http, config.timeout_graceful_shutdown = Hasty, 1
    bound = socket.create_server(("127.0.0.1", 0))
    server = QuietServer(config)
    served = loop.start(server.serve([bound]))
    yield Port(bound.getsockname()[1], server)
    server.end()
    served.result()


GET = b"GET /v1/things/a HTTP/1.1\r\n"
POST = b"POST /v1/things HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nContent-Type: application/json\r\n"
HOST = b"Host: a\r\n"
CLOSE = b"Connection: close\r\n\r\n"
LONG = b"X-Long: " + b"a" * 65_536 + b"\r\n"

ANSWERED: Mapping[str, tuple[Sequence[bytes], bytes, bytes]] = {
    "a request": ([GET + HOST + CLOSE], b"200", b'""'),
    "no Host": ([GET + CLOSE], b"400", b"http_malformed"),
    "two Hosts": ([GET + HOST + HOST + CLOSE], b"400", b"http_malformed"),
    "HTTP/1.0": ([b"GET /v1/things/a HTTP/1.0\r\n\r\n"], b"200", b'""'),
    "gzip, chunked": (
        [POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], b"501", b"transfer_coding_unknown"),
    "two lengths": (
        [POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"], b"400", b"http_malformed"),
    "one length twice": (
        [POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"], b"400", b"http_malformed"),
    "a list of one length": ([POST + b"Content-Length: 5, 5\r\n\r\n[[1]]"], b"400", b"http_malformed"),
    "a length and chunks": (
        [POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET + HOST + b"\r\n"],
        b"400", b"http_malformed"),
    "chunks in HTTP/1.0": (
        [POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        b"400", b"http_malformed"),
    "lines without CR": ([b"GET /v1/things/a HTTP/1.1\nHost: a\n\n"], b"400", b"http_malformed"),
    "one line without CR": ([GET + b"X: a\n" + HOST + CLOSE], b"400", b"http_malformed"),
    "a folded line": ([GET + HOST + b"X: a\r\n b\r\n" + CLOSE], b"400", b"http_malformed"),
    "HTTP/2.0": ([b"GET /v1/things/a HTTP/2.0\r\n" + HOST + CLOSE], b"400", b"http_malformed"),
    "another version in a header": ([GET + HOST + b"User-Agent: a HTTP/2.0\r\n" + CLOSE], b"200", b'""'),
    "a bug": ([b"GET /v1/bugs HTTP/1.1\r\n" + HOST + b"\r\n"], b"500", b"connection: close"),
    "a negative length": ([POST + b"Content-Length: -1\r\n\r\n{}"], b"400", b"http_malformed"),
    "a length over 64 bits": (
        [POST + b"Content-Length: 99999999999999999999\r\n\r\n{}"], b"413", b"too_large"),
    "a length of forty digits": (
        [POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}"], b"400", b"http_malformed"),
    "a broken chunk": ([POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n"], b"400", b"http_malformed"),
    "a header of 150 MB": ([GET + HOST, *[LONG] * 2_300], b"431", b"headers_too_large"),
    "a header a byte at a time": ([GET + HOST], b"408", b"request_timeout"),
    "no HTTP": ([b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"], b"400", b"http_malformed"),
    "a body of somebody unknown": (
        [b"POST /v1/things HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n", b"[" * 900_000],
        b"401", b"unauthenticated"),
    "a body that never comes": (
        [b"POST /v1/things HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"], b"401", b"unauthenticated"),
    "Expect": ([POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n" + CLOSE + b"{}"], b"100", b"200 OK"),
    "Upgrade": ([GET + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"], b"200", b'""'),
    "a line of control characters": ([b"GET /\x00 HTTP/1.1\r\n" + HOST + CLOSE], b"400", b"http_malformed"),
    "three in a row": ([(GET + HOST + b"\r\n") * 2 + GET + HOST + CLOSE], b"200", b'""'),
}  # fmt: skip


@pytest.mark.parametrize("what", ANSWERED)
def test_whatever_is_sent_is_answered_soon_and_the_next_is_served(port: Port, what: str) -> None:
    pieces, status, said = ANSWERED[what]

    answer = port.send(*pieces)

    assert answer.split(b" ", 2)[1] == status
    assert said in answer
    assert status not in (b"400", b"500") or answer.lower().count(b"connection: close\r\n") == 1
    assert port.send(GET + HOST + CLOSE).startswith(b"HTTP/1.1 200")


def test_a_port_that_is_full_says_so_and_is_free_again_when_the_half_sent_time_out(port: Port) -> None:
    halves = [port.connect() for _ in range(FEW)]
    for half in halves:
        half.sendall(GET)
    refused = port.send(GET + HOST + b"\r\n")
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"too_many_connections" in refused
    for half in halves:
        assert half.recv(65_536).startswith(b"HTTP/1.1 408")
        half.close()

    assert port.send(GET + HOST + CLOSE).startswith(b"HTTP/1.1 200")


def test_an_answer_that_nobody_takes_does_not_keep_its_connection(port: Port, loop: LoopThread) -> None:
    with port.connect() as connection:
        connection.sendall(b"GET /v1/things/a?limit=20000000 HTTP/1.1\r\n" + HOST + b"\r\n")
        assert connection.recv(1)
        loop.call(until(lambda: not port.server.server_state.connections, ANSWERED_WITHIN_SECONDS))


def test_of_an_answer_that_is_given_too_slowly_nothing_leaves_afterwards(loop: LoopThread) -> None:
    app, ended = create_app("tests", lambda _request: None), threading.Event()

    async def release(hand_over: HandOver) -> None:
        try:
            async with asyncio.timeout(0.2):
                await hand_over(b"x" * 20_000_000)
        except TimeoutError:
            raise ReleaseLate from None
        finally:
            ended.set()

    app.add_api_route("/v1/releases", lambda: HandedOver(release))
    with capture_logs() as lines, serving(app, loop) as port, port.connect() as connection:
        connection.sendall(b"GET /v1/releases HTTP/1.1\r\n" + HOST + b"\r\n")
        assert ended.wait(ANSWERED_WITHIN_SECONDS)
        assert len(all_of(connection)) < 20_000_000
    assert not [line for line in lines if line["event"] == "request_failed"]


def test_a_drain_answers_who_waits_for_news_at_once_and_whoever_it_cuts_by_a_problem(
    app: FastAPI, loop: LoopThread
) -> None:
    with serving(app, loop) as port, port.connect() as waits, port.connect() as sleeps:
        waits.sendall(b"GET /v1/news HTTP/1.1\r\n" + HOST + b"\r\n")
        sleeps.sendall(b"GET /v1/sleeps HTTP/1.1\r\n" + HOST + b"\r\n")
        loop.call(until(lambda: len(port.server.server_state.tasks) == 2, ANSWERED_WITHIN_SECONDS))
        port.server.end()
        news, cut = all_of(waits), all_of(sleeps)

    assert (news[:12], news[-6:]) == (b"HTTP/1.1 200", b'"none"')
    assert cut.startswith(b"HTTP/1.1 503")
    assert all(said in cut for said in (b'"code":"unavailable"', b"retry-after: 2\r\n"))
    assert all(one.lower().count(b"connection: close\r\n") == 1 for one in (news, cut))


def test_of_a_header_without_end_no_more_is_taken_than_the_limit(port: Port) -> None:
    with port.connect() as connection:
        connection.sendall(GET + HOST + b"X: " + b"a" * HEADER_BYTES_MAX)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 431")
