"""HTTP for every service: one way in (`requests`), one way of saying no (`problems`)."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from schemas.wire.body import UNKNOWN_CODE
from services.runtime.errors import NotFound, Refused, Unavailable
from services.runtime.ids import new_id
from services.runtime.logs import log
from services.runtime.problems import ProblemResponse, refusal
from services.runtime.refusals import (
    InvalidRequest,
    JsonMalformed,
    MethodNotAllowed,
    NoSuchRoute,
    PartUnavailable,
    ServiceFault,
)
from services.runtime.requests import REQUEST_BYTES_MAX, CallerOf, StrictRequests, check_query

ERRORS_MAX: Final = 50
"""How many wrong places are listed: a wide body must not be answered by a wider one."""
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app(title: str, caller: CallerOf, *, bytes_max: int = REQUEST_BYTES_MAX) -> FastAPI:
    """An empty application whose every refusal is a problem document; wiring adds its routers."""
    app = FastAPI(
        title=title,
        dependencies=[Depends(check_query)],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(StrictRequests, caller=caller, bytes_max=bytes_max)
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


async def _refused(_request: Request, refused: Exception) -> ProblemResponse:
    assert isinstance(refused, Refused)  # noqa: S101  Starlette types every handler's error as Exception
    return refusal(refused)


async def _unavailable(_request: Request, _error: Exception) -> ProblemResponse:
    return refusal(PartUnavailable())


async def _invalid(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    listed = error.errors()[:ERRORS_MAX]
    errors = [
        {"pointer": _pointer(_declared(one)), "detail": str(one["type"]), **_allowed(one)} for one in listed
    ]
    return refusal(InvalidRequest(errors))


_TELLING: Final = (UNKNOWN_CODE, "literal_error", "enum", "less_than_equal", "greater_than_equal")
"""Failures whose text is made of our own lists and limits alone, never of what was sent."""


def _allowed(error: Mapping[str, Any]) -> dict[str, str]:
    return {"allowed": str(error["msg"])} if error["type"] in _TELLING else {}


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


async def _http(request: Request, error: Exception) -> Response:
    """The router's own refusals: no route, or one for other methods, among which OPTIONS asks for those."""
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == 404:
        return refusal(NoSuchRoute())
    if error.status_code != 405:
        return refusal(JsonMalformed())
    routes = request.app.routes
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    allow = {"allow": ", ".join([*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"])}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allow)
    answer = refusal(MethodNotAllowed())
    answer.headers.update(allow)
    return answer


async def _unexpected(request: Request, error: Exception) -> ProblemResponse:
    instance = new_id("request")
    log().error(
        "request_failed", error_class=type(error).__name__, route=_route(request), request_id=instance
    )
    return refusal(ServiceFault(), instance=instance)


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", ""))
