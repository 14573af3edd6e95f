"""OpenAPI 3.1 of an agencies' port, made from its routes: what each takes, answers and refuses, by code."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Header, Response
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from services.runtime.errors import Refused
from services.runtime.refusals import EVERY_BODY, EVERY_OPERATION, NO_ROUTE
from services.runtime.tokens import TYPE, Unauthenticated

VERSION: Final = "1.0"
OPENAPI_PATH: Final = "/openapi.json"
_MARK: Final = "__refusals__"
_REQUIRED: Final = "x-required"
_SCHEMAS: Final = "#/components/schemas/"

Marked = TypeVar("Marked", bound=Callable[..., Any])


def refuses(*refusals: type[Refused]) -> Callable[[Marked], Marked]:
    """Marks a route or a dependency with what it can refuse; a route answers for its dependencies."""

    def mark(function: Marked) -> Marked:
        setattr(function, _MARK, refusals)
        return function

    return mark


def needed_header(name: str, description: str, **schema: Any) -> Any:
    """A header without which a route refuses under a code of its own, so FastAPI must not ask for it."""
    return Header(alias=name, description=description, json_schema_extra={**schema, _REQUIRED: True})


PLACE: Final = {
    "type": "object",
    "required": ["pointer", "detail"],
    "properties": {
        "pointer": {"type": "string"},
        "detail": {"type": "string"},
        "allowed": {"type": "string", "description": "What a closed list or a limit allows."},
    },
}
PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457. `code` never changes; it never repeats a value that was sent.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:concert:problem:[a-z0-9_]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do."},
        "instance": {"type": "string", "pattern": "^urn:uuid:", "description": "Tell the operator this one."},
        "code": {"type": "string", "pattern": "^[a-z0-9_]+$"},
        "errors": {"type": "array", "items": PLACE},
    },
}
HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": "How to authenticate (RFC 6750)."},
    429: {"Retry-After": "After how many seconds to try again."},
    503: {"Retry-After": "After how many seconds to try again."},
}
"""Headers that come with every refusal of a status."""

ABOUT: Final = (
    "Every answer that is no success is a problem document (RFC 9457) whose `code` never changes. "
    "Members and codes may be added within this major version: a list under `x-extensible-enum` holds "
    "the codes known today, an `enum` is closed. A body with a member that is not named here is "
    "refused. Times are RFC 3339 in UTC. A path that is no route answers "
)


def document_of(app: FastAPI) -> dict[str, Any]:
    """The whole document; the same routes give the same one."""
    about = ABOUT + ", another method ".join(f"{one.status} `{one.code}`" for one in NO_ROUTE) + "."
    written = get_openapi(title=app.title, version=VERSION, description=about, routes=app.routes)
    problems: dict[str, Any] = {"problem": PROBLEM}
    responses: dict[str, Any] = {}
    for path, method, route in _operations(app):
        operation = written["paths"][path][method]
        _complete(operation)
        found: list[type[Refused]] = [*EVERY_OPERATION, Unauthenticated, *refusals_of(route.dependant)]
        found += EVERY_BODY if "requestBody" in operation else ()
        problems |= {f"problem.{one.code}": _schema_of(one) for one in found}
        for status in sorted({one.status for one in found}):
            codes = sorted({one.code for one in found if one.status == status})
            name = ".".join(codes)
            responses[name] = _response_of(status, codes)
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    schemas = written["components"]["schemas"].items()
    own = _untitled({name: schema for name, schema in schemas if "ValidationError" not in name})
    written["components"] = {
        "schemas": own | dict(sorted(problems.items())),
        "responses": dict(sorted(responses.items())),
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": TYPE}},
    }
    return written | {"security": [{"token": []}]}


def text_of(app: FastAPI) -> str:
    """The document as it is published."""
    return json.dumps(document_of(app), ensure_ascii=False, indent=1) + "\n"


def serve_openapi(app: FastAPI) -> None:
    """Answer the document to whoever asks: it holds nothing that is not published."""
    text = cache(partial(text_of, app))  # made at the first request: a start should not wait for it

    @app.get(OPENAPI_PATH, include_in_schema=False)
    async def openapi() -> Response:
        return Response(text(), media_type="application/json")


def refusals_of(dependant: Dependant) -> Iterator[type[Refused]]:
    """What a route and everything that it depends on can refuse."""
    yield from getattr(dependant.call, _MARK, ())
    for inner in dependant.dependencies:
        yield from refusals_of(inner)


def _operations(app: FastAPI) -> Iterator[tuple[str, str, Any]]:
    for context in iter_route_contexts(app.routes):
        route: Any = context
        if isinstance(context.original_route, APIRoute) and route.include_in_schema:
            for method in sorted(route.methods):
                yield route.path_format, method.lower(), route


def _schema_of(refusal: type[Refused]) -> dict[str, Any]:
    fixed = {"code": refusal.code, "type": f"urn:concert:problem:{refusal.code}", "status": refusal.status}
    return {
        "description": refusal.sentence,
        "allOf": [{"$ref": f"{_SCHEMAS}problem"}],
        "properties": {name: {"const": value} for name, value in fixed.items()},
    }


def _response_of(status: int, codes: list[str]) -> dict[str, Any]:
    refs = [{"$ref": f"{_SCHEMAS}problem.{code}"} for code in codes]
    headers = {name: header(text) for name, text in HEADERS.get(status, {}).items()}
    return {
        "description": " or ".join(f"`{code}`" for code in codes),
        **({"headers": headers} if headers else {}),
        "content": {"application/problem+json": {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}}},
    }


def _complete(operation: dict[str, Any]) -> None:
    """Put right what FastAPI cannot know: the summary, and which headers are needed."""
    operation["summary"], _, more = operation.pop("description", operation["summary"]).partition("\n\n")
    if more:
        operation["description"] = more
    operation["responses"].pop("422", None)
    for parameter in operation.get("parameters", ()):
        schema = _untitled(parameter["schema"])
        schema.pop("description", None)  # the parameter says it
        if schema.pop(_REQUIRED, False):
            schema = {"type": "string"} | {name: rule for name, rule in schema.items() if name != "anyOf"}
            parameter["required"] = True
        parameter["schema"] = schema


def header(description: str, **schema: Any) -> dict[str, Any]:
    """A header of an answer, as a route describes it."""
    return {"description": description, "schema": {"type": "string", **schema}}


def _untitled(schema: Any) -> Any:
    """A schema without the titles that pydantic makes of names; a member called `title` stays."""
    if isinstance(schema, list):
        return [_untitled(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _untitled(rule)
        for name, rule in schema.items()
        if not (name == "title" and isinstance(rule, str))
    }
