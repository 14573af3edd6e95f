"""HTTP for every service: strict JSON, a size limit, problem documents (RFC 9457) that never echo a value."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from schemas.strict_json import MalformedJson, parse_json
from services.runtime.errors import Refused, Unavailable
from services.runtime.ids import new_id
from services.runtime.logs import log

REQUEST_BYTES_MAX: Final = 256 * 1024
ERRORS_MAX: Final = 50
"""How many wrong places are listed: a wide body must not be answered by a wider one."""
BODY_SECONDS: Final = 30.0
RETRY_AFTER_SECONDS: Final = "2"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
CallerOf = Callable[[Request], object]
"""Who asks, by headers or certificate alone; raises Refused where nobody known does."""


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
    instance: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> ProblemResponse:
    """Say what is wrong and what to do, under a code that never changes; `more` are further members."""
    content: dict[str, Any] = {
        "type": f"urn:concert:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance or new_id("request"),
        "code": code,
        **(more or {}),
    }
    if errors:
        content["errors"] = errors
    return ProblemResponse(content, status, headers=dict(headers or {}))


class NotFound(Refused):
    """Unknown, or not the caller's: the same answer, so that nobody learns which."""

    code = "not_found"
    sentence = "nothing of that id is known to your agency"
    status = 404


class Malformed(Refused):
    """A body that is not what JSON allows, or larger or deeper than allowed."""

    code = "malformed"
    sentence = "send one JSON value in UTF-8, without duplicate names, at most 32 levels deep"
    status = 400


class TooLarge(Refused):
    """A body over the limit."""

    code = "too_large"
    sentence = "send at most 256 KiB"
    status = 413


class RequestTimeout(Refused):
    """A header or a body that took too long."""

    code = "request_timeout"
    sentence = "send header and body of a request without pausing"
    status = 408


class StrictBodies:
    """Middleware: reads each body once, bounded, and refuses what a lenient parser would let through."""

    def __init__(self, app: App, caller: CallerOf, bytes_max: int = REQUEST_BYTES_MAX) -> None:
        self._app = app
        self._caller = caller
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body in one piece."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE"):
            await self._app(scope, receive, send)
            return
        try:
            self._caller(Request(scope))  # first: whoever may not ask costs us no look at what they send
            if int(Headers(scope=scope).get("content-length") or 0) > self._bytes_max:
                raise TooLarge
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._read(receive)
            if body:
                parse_json(body)
        except Refused as refused:
            await refusal(refused)(scope, receive, send)
            return
        except TimeoutError:
            await refusal(RequestTimeout())(scope, receive, send)
            return
        except MalformedJson:
            await refusal(Malformed())(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        pieces, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Malformed
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._bytes_max:
                raise TooLarge
            more = message.get("more_body", False)
        return b"".join(pieces)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return messages.pop() if messages else await receive()

    return again


def create_app(title: str, caller: CallerOf, *, bytes_max: int = REQUEST_BYTES_MAX) -> FastAPI:
    """An empty application whose every refusal is a problem document; wiring adds its routers."""
    app = FastAPI(title=title, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(StrictBodies, caller=caller, bytes_max=bytes_max)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    return app


def caller_of(request: Request) -> str:
    """The URI name in the certificate of the service that asks on the internal port."""
    certificate = request.scope.get("extensions", {}).get("peer_certificate") or {}
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "URI":
            return str(name)
    raise NotFound


def refusal(refused: Refused) -> ProblemResponse:
    """A refusal as a problem document, with the headers that its status asks for."""
    headers = dict(refused.headers)
    if refused.status in (429, 503):
        headers["retry-after"] = RETRY_AFTER_SECONDS
    return problem(refused.status, refused.code, refused.sentence, headers=headers)


async def _refused(_request: Request, refused: Exception) -> ProblemResponse:
    assert isinstance(refused, Refused)  # noqa: S101  Starlette types every handler's error as Exception
    return refusal(refused)


async def _unavailable(_request: Request, _error: Exception) -> ProblemResponse:
    detail = "a part that this needs does not answer; try again"
    return problem(503, "unavailable", detail, headers={"retry-after": RETRY_AFTER_SECONDS})


async def _invalid(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    listed = error.errors()[:ERRORS_MAX]
    errors = [{"pointer": _pointer(_declared(one)), "detail": str(one["type"])} for one in listed]
    return problem(422, "invalid", "correct the places named in errors", errors=errors)


def _declared(error: Mapping[str, Any]) -> tuple[Any, ...]:
    """The place of an error without the names that no model declares: unknown members, keys of a mapping."""
    place = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return (*place[:-1], "*")
    return (*place[:-2], "*") if place[-1:] == ("[key]",) else place


def _pointer(place: tuple[Any, ...]) -> str:
    """Where the fault lies. Names that the sender made up are values too, and are not repeated."""
    steps = [str(step) if isinstance(step, int) or str(step) in _PLACES else "*" for step in place[:1]]
    return "#/" + "/".join([*steps, *(_known_step(step) for step in place[1:])])


_PLACES: Final = ("body", "query", "path", "header")


def _known_step(step: Any) -> str:
    text = str(step)
    return (
        text if isinstance(step, int) or (text.isidentifier() and len(text) <= 40 and text.islower()) else "*"
    )


async def _http(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
    detail = {404: NotFound.sentence, 405: "use a method that this resource has"}.get(
        error.status_code, "the request cannot be answered as it was sent"
    )
    return problem(error.status_code, code, detail, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> ProblemResponse:
    instance = new_id("request")
    log().error(
        "request_failed", error_class=type(error).__name__, route=_route(request), request_id=instance
    )
    detail = "this is our fault; try again later, and tell the operator the instance"
    return problem(500, "unexpected", detail, instance=instance)


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", ""))


__all__ = [
    "Malformed",
    "NotFound",
    "ProblemResponse",
    "StrictBodies",
    "TooLarge",
    "caller_of",
    "create_app",
    "problem",
    "refusal",
]
