"""The client of every service's doors for operators' acts, with the certificate of `operations`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from services.operations.domain import refusals
from services.runtime.acts import ActCounts, Rehearsal
from services.runtime.errors import Refused, Unavailable, define_refusal

A = TypeVar("A", bound=BaseModel)
PASSING: Final = (httpx2.codes.REQUEST_TIMEOUT, httpx2.codes.TOO_MANY_REQUESTS)
"""Refusals that are no last word."""


class ServiceDoors:
    """Asks services; what they refuse is refused on under the same code and sentence."""

    def __init__(self, clients: Mapping[str, httpx2.AsyncClient]) -> None:
        self._clients = clients

    @property
    def services(self) -> Sequence[str]:
        """Whom it can ask."""
        return sorted(self._clients)

    async def rehearse(self, service: str, act: str, chosen: Mapping[str, Any]) -> Rehearsal:
        """A dry run."""
        return await self._form(Rehearsal, service, "POST", f"/v1/acts/{act}/rehearsal", chosen)

    async def order(
        self, service: str, act: str, order: Mapping[str, Any], scope: Mapping[str, Any], count: int
    ) -> Mapping[str, int]:
        """Have it done; the same order again is answered the same."""
        asked = {"order": order, "scope": scope, "count": count}
        return (await self._form(ActCounts, service, "POST", f"/v1/acts/{act}", asked)).counts

    async def read(self, service: str, path: str) -> Any:
        """What there is to look at."""
        return (await self._answer(service, "GET", path)).json()

    async def read_all(self, services: Sequence[str], path: str) -> tuple[list[dict[str, Any]], list[str]]:
        """The rows of all services that answer, each with its service's name, and who does not."""
        answers = await asyncio.gather(*(self.read(one, path) for one in services), return_exceptions=True)
        rows, silent = [], []
        for service, answer in zip(services, answers, strict=True):
            if isinstance(answer, Unavailable | Refused):
                silent.append(service)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                rows += [{"service": service, **row} for row in answer["data"]]
        return rows, silent

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def _form(self, form: type[A], *asked: Any) -> A:
        answer = await self._answer(*asked)
        try:
            return form.model_validate_json(answer.content)
        except ValidationError:
            raise Unavailable("a service's answer cannot be read") from None

    async def _answer(
        self, service: str, method: str, path: str, asked: Mapping[str, Any] | None = None
    ) -> httpx2.Response:
        if service not in self._clients:
            raise refusals.NotOfService
        try:
            answer = await self._clients[service].request(method, path, json=asked)
        except httpx2.TransportError as error:
            raise Unavailable(f"{service} does not answer") from error
        if answer.is_success:
            return answer
        if answer.status_code in PASSING or answer.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
            raise Unavailable(f"{service} cannot do it now")
        raise refused_by(answer)


def refused_by(answer: httpx2.Response) -> Refused:
    """A service's refusal, as one of ours."""
    document = answer.json()
    code, sentence = str(document.get("code")), str(document.get("detail"))
    if code == "no_such_route":
        return refusals.NotOfService()
    return define_refusal(__name__, code, sentence, answer.status_code)()
