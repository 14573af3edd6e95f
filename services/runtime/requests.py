"""What any request must be before a route sees it: one reading of its target, headers, query and body."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from fastapi import Request
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import _get_flat_fields_from_params
from starlette.datastructures import Headers, MutableHeaders

from schemas.wire.strict_json import MalformedJson, parse_json
from services.runtime import refusals
from services.runtime.errors import Refused
from services.runtime.problems import refusal

REQUEST_BYTES_MAX: Final = 256 * 1024
CSV_BYTES_MAX: Final = 4 * 1024 * 1024
BODY_SECONDS: Final = 30.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
CallerOf = Callable[[Request], object]
"""Who asks, by headers or certificate alone; raises Refused where nobody known does."""


_JSON: Final = re.compile(r'application/json([ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)
_CSV: Final = re.compile(r'text/csv([ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)
_PATH: Final = re.compile(rb"/([!-$&-~]|%(?!2f|5c|[01]|7f|[89a-f])[0-9a-f]{2})*", re.IGNORECASE)
"""A path in ASCII, without anything encoded that would end a step of it or is no text."""
_WHOLE: Final = re.compile(r"0|[1-9][0-9]*")
DRAINING: Final = "draining"


def draining_of(request: Request) -> asyncio.Event:
    """Set once the process stops: a request that waits for news is then answered with what there is."""
    event = request.scope.get("state", {}).get(DRAINING)
    return event or asyncio.Event()


class BodyForm(NamedTuple):
    """What a body may be: its media type, its length, its text, and the refusals of the first two."""

    media_type: re.Pattern[str]
    bytes_max: int
    check: Callable[[bytes], object]
    other_type: type[Refused] = refusals.MediaTypeUnsupported
    too_large: type[Refused] = refusals.TooLarge


def _check_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError:
        raise refusals.NotCsv from None


Forms = Mapping[tuple[str, str], BodyForm]
"""What bodies are other than JSON, by method and by what their paths begin with."""
NO_FORMS: Final[Forms] = {}
CSV_FORM: Final = BodyForm(_CSV, CSV_BYTES_MAX, _check_utf8, refusals.NotCsv, refusals.TableTooLarge)


class StrictRequests:
    """Middleware: reads each body once, bounded, and refuses what a lenient parser would let through."""

    def __init__(
        self, app: App, caller: CallerOf, bytes_max: int = REQUEST_BYTES_MAX, forms: Forms = NO_FORMS
    ) -> None:
        """A body is JSON but for a method below a path that `forms` names."""
        self._app = app
        self._caller = caller
        self._json = BodyForm(_JSON, bytes_max, parse_json)
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body in one piece."""
        send = _unstored(send, without_body=scope["method"] == "HEAD")
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:  # the drain waits no longer; what was committed stands for the repeat
            with suppress(RuntimeError):  # an answer that has begun is cut
                await refusal(refusals.PartUnavailable())(scope, receive, send)
            raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            _check_target(scope, headers)
            if scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE"):
                method = "GET" if scope["method"] == "HEAD" else scope["method"]
                await self._app({**scope, "method": method}, receive, send)
                return
            self._caller(Request(scope))  # first: whoever may not ask costs us no look at what they send
            if "content-encoding" in headers:
                raise refusals.MediaTypeUnsupported
            method, path = scope["method"], scope["path"]
            named = (
                form for (of, below), form in self._forms.items() if of == method and path.startswith(below)
            )
            form = next(named, self._json)
            if int(headers.get("content-length") or 0) > form.bytes_max:
                raise form.too_large
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._read(receive, form)
            if body and not form.media_type.fullmatch(headers.get("content-type", "")):
                raise form.other_type
            if body:
                form.check(body)
        except Refused as refused:
            answer = refusal(refused)
        except TimeoutError:
            answer = refusal(refusals.RequestTimeout())
        except MalformedJson:
            answer = refusal(refusals.Malformed())
        else:
            await self._app(scope, _replay(body, receive), send)
            return
        await answer(scope, receive, send)

    async def _read(self, receive: Receive, form: BodyForm) -> bytes:
        pieces, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise refusals.Malformed
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > form.bytes_max:
                raise form.too_large
            more = message.get("more_body", False)
        return b"".join(pieces)


def _check_target(scope: Scope, headers: Headers) -> None:
    if not _PATH.fullmatch(scope.get("raw_path") or scope["path"].encode()):
        raise refusals.PathMalformed
    if any(len(headers.getlist(name)) > 1 for name in refusals.SINGLE_HEADERS):
        raise refusals.HeaderRepeated


def _unstored(send: Send, *, without_body: bool) -> Send:
    """Nothing that concerns a person is stored on its way, unless a route says that it may be."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("cache-control", "no-store")
        elif without_body and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sent


def _query_parameters(dependant: Dependant) -> Iterator[ModelField]:
    yield from _get_flat_fields_from_params(dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_parameters(inner)


async def check_query(request: Request) -> None:
    """A dependency of every route: refuses unknown and repeated query parameters, and numbers like `1_0`."""
    fields = {one.alias: one for one in _query_parameters(request.scope["route"].dependant)}
    known = sorted(fields)
    given = [name for name, _ in request.query_params.multi_items()]
    errors = [{"pointer": f"#/query/{name}", "detail": "repeated"} for name in known if given.count(name) > 1]
    errors += [
        {"pointer": f"#/query/{name}", "detail": "int_parsing", "allowed": "0, or digits that begin with 1-9"}
        for name in known
        if name in given and fields[name].field_info.annotation is int
        if not _WHOLE.fullmatch(request.query_params[name])
    ]
    if not set(given) <= set(known):
        errors.append({"pointer": "#/query/*", "detail": "unknown", "allowed": ", ".join(known) or "none"})
    if errors:
        raise refusals.QueryInvalid(errors)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return messages.pop() if messages else await receive()

    return again
