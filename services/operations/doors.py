"""The client of every service's doors for operators' acts, with the certificate of `operations`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from schemas.wire.strict_json import MalformedJson, parse_json
from services.operations.domain import refusals
from services.runtime.acts import ACTS, ActCounts, Rehearsal
from services.runtime.errors import Refused, Unavailable, define_refusal
from services.runtime.peers import AnswerTooLong, answer_within

A = TypeVar("A", bound=BaseModel)
DOOR_SECONDS: Final = 30.0
"""How long a service may take for one slice of an act, however it drips; then it is asked again."""
LOOK_SECONDS: Final = 5.0
"""How long for what a person waits to see."""
PASSING: Final = (httpx2.codes.REQUEST_TIMEOUT, httpx2.codes.TOO_MANY_REQUESTS)
"""Refusals that are no last word."""


class LetterRows(BaseModel):
    """A list, whatever its rows have."""

    model_config = ConfigDict(hide_input_in_errors=True)

    data: Annotated[list[dict[str, Any]], Field(max_length=1_000)]


class ProblemDocument(BaseModel):
    """A refusal, as services word theirs (RFC 9457)."""

    model_config = ConfigDict(hide_input_in_errors=True)

    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,59}$")]
    detail: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,500}$")]


class ServiceDoors:
    """Asks services; what they refuse is refused on under the same code and sentence."""

    def __init__(self, clients: Mapping[str, httpx2.AsyncClient]) -> None:
        self._clients = clients

    async def rehearse(self, service: str, act: str, chosen: Mapping[str, Any]) -> Rehearsal:
        """A dry run."""
        answer = await self._answer(DOOR_SECONDS, service, "POST", f"/v1/acts/{act}/rehearsal", chosen)
        found = _form(Rehearsal, answer)
        try:
            scope = ACTS[act].scope.model_validate(found.scope)
        except ValidationError:
            raise _unreadable() from None
        ids = getattr(scope, "ids", None)
        if ids is not None and len(ids) != found.count:
            raise _unreadable()
        return found

    async def order(
        self, service: str, act: str, order: Mapping[str, Any], scope: Mapping[str, Any], count: int
    ) -> Mapping[str, int]:
        """Have it done; the same order again is answered the same."""
        asked = {"order": order, "scope": scope, "count": count}
        return _form(
            ActCounts, await self._answer(DOOR_SECONDS, service, "POST", f"/v1/acts/{act}", asked)
        ).counts

    async def read(self, service: str, path: str) -> Any:
        """What there is to look at."""
        try:
            return parse_json(await self._answer(LOOK_SECONDS, service, "GET", path))
        except MalformedJson:
            raise _unreadable() from None

    async def read_all(self, services: Sequence[str], path: str) -> tuple[list[dict[str, Any]], list[str]]:
        """The rows of all services that answer, each with its service's name, and who does not."""
        asked = (self._answer(LOOK_SECONDS, one, "GET", path) for one in services)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        rows, silent = [], []
        for service, answer in zip(services, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, Unavailable | Refused):
                raise answer
            try:
                if isinstance(answer, BaseException):
                    raise answer
                mine = {"service": service}
                rows += [mine | row | mine for row in _form(LetterRows, answer).data]
            except (Unavailable, Refused):
                silent.append(service)
        return rows, silent

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def _answer(
        self, seconds: float, service: str, method: str, path: str, asked: Mapping[str, Any] | None = None
    ) -> bytes:
        if service not in self._clients:
            raise refusals.NotOfService
        try:
            status, content = await answer_within(seconds, self._clients[service], method, path, json=asked)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise Unavailable(f"{service} does not answer") from error
        except AnswerTooLong:
            raise _unreadable() from None
        if httpx2.codes.is_success(status):
            return content
        if status in PASSING or not httpx2.codes.is_client_error(status):
            raise Unavailable(f"{service} cannot do it now")
        raise refused_by(status, content)


def _form(form: type[A], content: bytes) -> A:
    try:
        return form.model_validate(parse_json(content))
    except (MalformedJson, ValidationError):
        raise _unreadable() from None


def _unreadable() -> Unavailable:
    return Unavailable("a service's answer cannot be read")


def refused_by(status: int, content: bytes) -> Refused:
    """A service's refusal, as one of ours; raises Unavailable where it is none."""
    told = _form(ProblemDocument, content)
    if told.code == "no_such_route":
        return refusals.NotOfService()
    return define_refusal(__name__, told.code, told.detail, status)()
