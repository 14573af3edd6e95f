"""What every port does with bodies and failures: strict on the way in, and no answer repeats a value."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, Literal

import httpx2
import pytest
from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict

from services.runtime.errors import Refused, Unavailable
from services.runtime.requests import REQUEST_BYTES_MAX
from services.runtime.tokens import Unauthenticated
from services.runtime.web import ERRORS_MAX, caller_of, create_app

NAME = "amina-quillon"
"""Stands wherever a sender can put something; no answer may repeat it."""
WORD = "quillon"
"""The same as a word that could be the name of a field."""


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")

    street: int


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int
    address: Address | None = None
    by_desk: Mapping[int, int] = {}


class Overtaken(Refused):
    code = "overtaken"
    sentence = "read the newest state and ask again"
    status = 412


class TooMany(Refused):
    code = "too_many"
    sentence = "ask less often"
    status = 429


FAILURES: Mapping[str, Exception] = {
    "refused": Overtaken(),
    "unauthenticated": Unauthenticated(),
    "too_many": TooMany(),
    "unavailable": Unavailable(NAME),
    "broken": RuntimeError(NAME),
}


def anybody(request: Request) -> None:
    """Everybody may ask who does not say otherwise."""
    if request.headers.get("authorization") == "none":
        raise Unauthenticated


def an_app() -> FastAPI:
    app = create_app("tests", anybody)

    @app.post("/v1/things")
    async def post_thing(thing: Asked) -> int:
        return thing.count

    @app.post("/v1/bytes")
    async def post_bytes(request: Request) -> int:
        return len(await request.body())

    @app.get("/v1/failures/{name}")
    async def get_failure(name: str) -> None:
        raise FAILURES[name]

    @app.get("/v1/lists")
    async def get_list(
        limit: Annotated[int, Query(le=200)] = 50, colour: Literal["red", "blue"] = "red"
    ) -> list[int]:
        return []

    @app.get("/v1/callers")
    async def get_caller(request: Request) -> str:
        return caller_of(request)

    return app


def a_client(app: Any) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://tests")


async def requested(
    method: str, path: str, *headers: tuple[str, str], content: Any = None
) -> httpx2.Response:
    async with a_client(an_app()) as client:
        return await client.request(method, path, headers=list(headers), content=content)


JSON = ("content-type", "application/json")


async def posted(content: Any, path: str = "/v1/things") -> httpx2.Response:
    return await requested("POST", path, JSON, content=content)


async def answer_to(receive: Callable[[], Any], *headers: tuple[bytes, bytes]) -> Any:
    """How an answer begins to a body that the application must fetch by itself, if it wants it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/bytes", "headers": headers, "query_string": b""}
    await an_app()(scope, receive, send)
    return sent[0]


MALFORMED: Mapping[str, bytes] = {
    "duplicate names": b'{"count":1,"count":2}',
    "duplicate names further in": b'{"count":1,"address":{"street":1,"street":2}}',
    "not a number": b'{"count":NaN}',
    "infinity": b'{"count":-Infinity}',
    "a number too large": b'{"count":1e999}',
    "bad UTF-8": b'{"count":"\xff\xfe"}',
    "half a surrogate": b'{"count":"\\ud800"}',
    "33 levels": b"[" * 33 + b"]" * 33,
    "10,000 levels": b"[" * 10_000 + b"]" * 10_000,
    "two values": b"{}{}",
    "no JSON": NAME.encode(),
    "a byte order mark": b'\xef\xbb\xbf{"count":1}',
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_body_that_parsers_could_take_differently_is_refused(what: str) -> None:
    answer = await posted(MALFORMED[what])

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert NAME not in answer.text


async def test_thirty_two_levels_are_taken() -> None:
    answer = await posted(b"[" * 32 + b"]" * 32, "/v1/bytes")

    assert answer.json() == 64


def a_body_of(size: int) -> bytes:
    return b'"' + b"x" * (size - 2) + b'"'


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@pytest.mark.parametrize("send", [lambda body: body, in_pieces], ids=["whole", "chunked"])
async def test_a_body_up_to_the_limit_is_taken_and_one_byte_more_is_not(send: Callable[[bytes], Any]) -> None:
    taken = await posted(send(a_body_of(REQUEST_BYTES_MAX)), "/v1/bytes")
    refused = await posted(send(a_body_of(REQUEST_BYTES_MAX + 1)), "/v1/bytes")

    assert taken.json() == REQUEST_BYTES_MAX
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


async def test_of_a_body_over_the_limit_no_more_is_read() -> None:
    pieces_read = 0

    async def without_end() -> AsyncIterator[bytes]:
        nonlocal pieces_read
        while pieces_read < 1_000:
            pieces_read += 1
            yield b" " * 10_000

    pieces = without_end()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(pieces), "more_body": True}

    answer = await answer_to(receive)

    assert answer["status"] == 413
    assert pieces_read == REQUEST_BYTES_MAX // 10_000 + 1


async def test_who_asks_is_checked_before_a_byte_of_the_body_is_read() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("the body of somebody unknown was read")

    answer = await answer_to(receive, (b"authorization", b"none"))

    assert answer["status"] == 401
    assert (b"www-authenticate", b'Bearer error="invalid_token"') in answer["headers"]


INVALID: Mapping[str, tuple[bytes, str, str]] = {
    "wrong type": (b'{"count":"%s"}' % NAME.encode(), "#/body/count", "int_parsing"),
    "missing": (b"{}", "#/body/count", "missing"),
    "an invented name": (b'{"count":1,"%s":1}' % NAME.encode(), "#/body/*", "extra_forbidden"),
    "an invented word": (b'{"count":1,"%s":1}' % WORD.encode(), "#/body/*", "extra_forbidden"),
    "an invented word further in": (
        b'{"count":1,"address":{"street":1,"%s":1}}' % WORD.encode(), "#/body/address/*", "extra_forbidden"),
    "an invented key": (b'{"count":1,"by_desk":{"%s":1}}' % WORD.encode(), "#/body/by_desk/*", "int_parsing"),
}  # fmt: skip


@pytest.mark.parametrize("what", INVALID)
async def test_a_wrong_member_is_pointed_at_and_neither_it_nor_an_invented_name_is_repeated(
    what: str,
) -> None:
    content, pointer, detail = INVALID[what]

    answer = await posted(content)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"] == [{"pointer": pointer, "detail": detail}]
    assert "quillon" not in answer.text


async def test_a_wide_body_is_not_answered_by_a_wider_one() -> None:
    wide = b'{"count":1,' + b",".join(b'"a%d":1' % number for number in range(20_000)) + b"}"

    answer = await posted(wide)

    assert (answer.status_code, len(answer.json()["errors"])) == (422, ERRORS_MAX)


ANSWERS: Mapping[str, tuple[str, str, int, str]] = {
    "an unknown path": ("GET", f"/v1/{NAME}", 404, "no_such_route"),
    "an unknown path's methods": ("OPTIONS", f"/v1/{NAME}", 404, "no_such_route"),
    "a slash in a step of a path": ("GET", "/v1/failures%2frefused", 400, "path_malformed"),
    "a slash in upper case": ("GET", "/v1/failures%2Frefused", 400, "path_malformed"),
    "a zero in a path": ("GET", "/v1/failures/%00", 400, "path_malformed"),
    "no UTF-8 in a path": ("GET", "/v1/failures/%ff", 400, "path_malformed"),
    "a method that is not there": ("DELETE", "/v1/things", 405, "method_not_allowed"),
    "a refusal": ("GET", "/v1/failures/refused", 412, "overtaken"),
    "no token": ("GET", "/v1/failures/unauthenticated", 401, "unauthenticated"),
    "too many": ("GET", "/v1/failures/too_many", 429, "too_many"),
    "something away": ("GET", "/v1/failures/unavailable", 503, "unavailable"),
    "a bug": ("GET", "/v1/failures/broken", 500, "unexpected"),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_every_failure_is_a_problem_document_without_the_value(what: str) -> None:
    method, path, status, code = ANSWERS[what]

    answer = await requested(method, path)

    said = answer.json()
    assert (answer.status_code, said["status"], said["code"]) == (status, status, code)
    assert said["type"] == f"urn:concert:problem:{code}"
    assert said.keys() == {"type", "title", "status", "detail", "instance", "code"}
    assert answer.headers["content-type"] == "application/problem+json"
    assert NAME not in answer.text


DECLARED: Mapping[str, tuple[tuple[tuple[str, str], ...], int]] = {
    "JSON": ((JSON,), 200),
    "JSON in UTF-8": ((("content-type", 'Application/JSON; charset="UTF-8"'),), 200),
    "nothing": ((), 415),
    "another type": ((("content-type", "text/plain"),), 415),
    "another character set": ((("content-type", "application/json; charset=latin-1"),), 415),
    "two types": ((JSON, JSON), 400),
    "compressed": ((JSON, ("content-encoding", "gzip")), 415),
    "as it is, in so many words": ((JSON, ("content-encoding", "identity")), 415),
    "one key twice": ((JSON, ("idempotency-key", "a"), ("idempotency-key", "a")), 400),
}


@pytest.mark.parametrize("what", DECLARED)
async def test_a_body_is_declared_once_and_as_json(what: str) -> None:
    headers, status = DECLARED[what]

    answer = await requested("POST", "/v1/things", *headers, content=b'{"count":1}')

    codes = {200: None, 400: "header_repeated", 415: "media_type_unsupported"}
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == codes[status]


QUERIES: Mapping[str, tuple[str, list[dict[str, str]]]] = {
    "unknown": (f"{WORD}=1", [{"pointer": "#/query/*", "detail": "unknown", "allowed": "colour, limit"}]),
    "twice": ("limit=1&limit=2", [{"pointer": "#/query/limit", "detail": "repeated"}]),
    "too many": (
        "limit=201", [{"pointer": "#/query/limit", "detail": "less_than_equal",
                       "allowed": "Input should be less than or equal to 200"}]),
    **{f"a number as {form}": (
        f"limit={form}", [{"pointer": "#/query/limit", "detail": "int_parsing",
                           "allowed": "0, or digits that begin with 1-9"}])
       for form in ("1_0", "1.0", "%2B5", "+5", "05", "")},
    "not in the list": (
        f"colour={WORD}", [{"pointer": "#/query/colour", "detail": "literal_error",
                            "allowed": "Input should be 'red' or 'blue'"}]),
}  # fmt: skip


@pytest.mark.parametrize("what", QUERIES)
async def test_a_wrong_query_is_told_by_the_names_and_values_that_there_are(what: str) -> None:
    query, errors = QUERIES[what]

    answer = await requested("GET", f"/v1/lists?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"] == errors
    assert WORD not in answer.text


async def test_every_resource_answers_head_and_options_and_is_not_stored() -> None:
    got, head = await requested("GET", "/v1/lists"), await requested("HEAD", "/v1/lists")
    options, other = await requested("OPTIONS", "/v1/things"), await requested("DELETE", "/v1/lists")

    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "2")
    assert (options.status_code, options.headers["allow"]) == (204, "POST, OPTIONS")
    assert (other.status_code, other.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert {one.headers["cache-control"] for one in (got, head, options, other)} == {"no-store"}


@pytest.mark.parametrize(
    ("name", "header"),
    [("unauthenticated", "www-authenticate"), ("too_many", "retry-after"), ("unavailable", "retry-after")],
)
async def test_an_answer_says_in_its_header_how_to_go_on(name: str, header: str) -> None:
    answer, other = [await requested("GET", f"/v1/failures/{one}") for one in (name, "refused")]

    assert answer.headers[header]
    assert header not in other.headers


async def test_no_document_about_the_interface_is_served() -> None:
    answers = [await requested("GET", path) for path in ("/docs", "/redoc", "/openapi.json")]

    assert [answer.status_code for answer in answers] == [404] * 3


def with_certificate(certificate: Any) -> Any:
    app = an_app()

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {"peer_certificate": certificate}}, receive, send)

    return served


async def test_the_caller_is_the_uri_name_in_the_certificate() -> None:
    names = (("DNS", "localhost"), ("URI", "urn:concert:test-local:police"))
    async with a_client(with_certificate({"subjectAltName": names})) as client:
        answer = await client.get("/v1/callers")

    assert answer.json() == "urn:concert:test-local:police"


@pytest.mark.parametrize("certificate", [None, {}, {"subjectAltName": (("DNS", "police"),)}])
async def test_without_a_uri_name_there_is_no_caller(certificate: Any) -> None:
    async with a_client(with_certificate(certificate)) as client:
        answer = await client.get(
            "/v1/callers", headers={"x-forwarded-client-cert": "URI=urn:concert:x:police"}
        )

    assert answer.status_code == 404
