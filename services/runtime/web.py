"""HTTP for every service: one way in (`requests`), one way of saying no (`problems`)."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from schemas.wire.body import UNKNOWN_CODE
from services.runtime import refusals
from services.runtime.errors import NotFound, Refused, Unavailable
from services.runtime.ids import new_id
from services.runtime.logs import log
from services.runtime.problems import ProblemResponse, refusal
from services.runtime.requests import (
    NO_FORMS,
    REQUEST_BYTES_MAX,
    CallerOf,
    Forms,
    StrictRequests,
    check_query,
)

ERRORS_MAX: Final = 50
"""How many wrong places are listed: a wide body must not be answered by a wider one."""
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app(
    title: str, caller: CallerOf, *, bytes_max: int = REQUEST_BYTES_MAX, forms: Forms = NO_FORMS
) -> FastAPI:
    """An empty application whose every refusal is a problem document; wiring adds its routers."""
    app = FastAPI(
        title=title,
        dependencies=[Depends(check_query)],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(StrictRequests, caller=caller, bytes_max=bytes_max, forms=forms)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Unavailable, _refused)
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


async def _refused(_request: Request, error: Exception) -> ProblemResponse:
    return refusal(error if isinstance(error, Refused) else refusals.PartUnavailable())


async def _invalid(_request: Request, error: Any) -> ProblemResponse:
    errors = [
        {"pointer": _pointer(one), "detail": str(one["type"])}
        | ({"allowed": str(one["msg"])} if one["type"] in _TELLING else {})
        for one in error.errors()[:ERRORS_MAX]
    ]
    return refusal(refusals.InvalidRequest(errors))


_TELLING: Final = (UNKNOWN_CODE, "literal_error", "enum", "less_than_equal", "greater_than_equal")
"""Failures whose text is made of our own lists and limits alone, never of what was sent."""


def _pointer(error: Mapping[str, Any]) -> str:
    """Where the fault lies. Names that the sender made up are values too, and are not repeated."""
    place = list(error["loc"])
    if error["type"] == "extra_forbidden":
        place[-1] = "*"
    elif place[-1:] == ["[key]"]:
        place[-2:] = ["*"]
    return "#/" + "/".join(str(step) if _is_ours(step) else "*" for step in place)


def _is_ours(step: int | str) -> bool:
    return isinstance(step, int) or (step.isidentifier() and step.islower() and len(step) <= 40)


async def _http(request: Request, error: Any) -> Response:
    """The router's own refusals: no route, or one for other methods, among which OPTIONS asks for those."""
    if error.status_code == 404:
        return refusal(refusals.NoSuchRoute())
    if error.status_code != 405:
        return refusal(refusals.Malformed())
    routes = request.app.routes
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    allow = {"allow": ", ".join([*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"])}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allow)
    answer = refusal(refusals.MethodNotAllowed())
    answer.headers.update(allow)
    return answer


async def _unexpected(request: Request, error: Exception) -> ProblemResponse:
    instance, route = new_id("request"), str(getattr(request.scope.get("route"), "path", ""))
    log().error("request_failed", error_class=type(error).__name__, route=route, request_id=instance)
    return refusal(refusals.ServiceFault(), instance=instance)
