"""Governance for the operator's command and for the other services, on the internal port."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from schemas.events.governance import AgencyCurrent, ProtocolDocument
from schemas.ids import AgencyId, ProtocolId
from services.governance.domain import AgencyDocument, Kind, OtherId, Publication, load_protocol
from services.governance.handlers import Work, admit_agency, publish_protocol
from services.runtime.peers import operator_alone
from services.runtime.web import caller_of

OpenWork = Callable[[], AbstractAsyncContextManager[Work]]


class Published(BaseModel):
    """What stands after the request, and whether the request changed it."""

    id: str
    version: int
    hash: str
    is_news: bool


class Entry(BaseModel):
    """One agency or protocol as it stands."""

    hash: str
    content: AgencyCurrent | ProtocolDocument


class Entries(BaseModel):
    """All of one kind; a list of this length needs no cursor."""

    data: list[Entry]
    next: None = None


async def _protocol(request: Request) -> tuple[ProtocolDocument, str]:
    """The document exactly as it was sent, through the one loader."""
    try:
        return load_protocol(await request.body())
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        ) from None


def routes(open_work: OpenWork, operator: str) -> APIRouter:
    """The routes, over whatever wiring opens; `operator` is the URI name that may write."""
    router = APIRouter(prefix="/v1")
    operators = [Depends(operator_alone(operator))]

    @router.put("/agencies/{agency}", dependencies=operators)
    async def put_agency(agency: AgencyId, content: AgencyDocument) -> Published:
        """Admit an agency, or publish its next version."""
        if content.agency != agency:
            raise OtherId
        async with open_work() as work:
            publication, is_news = await admit_agency(content, work)
        return _published(publication, is_news)

    @router.put("/protocols/{protocol}", dependencies=operators)
    async def put_protocol(
        protocol: ProtocolId, loaded: Annotated[tuple[ProtocolDocument, str], Depends(_protocol)]
    ) -> Published:
        """Publish a sharing protocol, or its next version."""
        document, digest = loaded
        if document.id != protocol:
            raise OtherId
        async with open_work() as work:
            publication, is_news = await publish_protocol(document, digest, work)
        return _published(publication, is_news)

    @router.get("/agencies", dependencies=[Depends(caller_of)])
    async def list_agencies() -> Entries:
        """Every agency as it stands."""
        return await _entries("agency")

    @router.get("/protocols", dependencies=[Depends(caller_of)])
    async def list_protocols() -> Entries:
        """Every protocol as it stands."""
        return await _entries("protocol")

    async def _entries(kind: Kind) -> Entries:
        async with open_work() as work:
            found = await work.register.all(kind)
        return Entries(data=[Entry(hash=one.hash, content=one.content) for one in found])

    return router


def _published(publication: Publication, is_news: bool) -> Published:
    return Published(id=publication.id, version=publication.version, hash=publication.hash, is_news=is_news)
