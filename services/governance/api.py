"""Governance for the operator's command and for the other services, on the internal port."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from schemas.events.governance import ProtocolDocument
from schemas.ids import AgencyId, ProtocolId
from services.governance.domain import AgencyDocument, OtherId, Publication, PublicationReceipt
from services.governance.handlers import Work, admit_agency, publish_protocol
from services.runtime.peers import operator_alone
from services.runtime.web import caller_of

OpenWork = Callable[[], AbstractAsyncContextManager[Work]]


class PublicationList(BaseModel):
    """All of one kind as they stand; a list of this length needs no cursor."""

    data: Sequence[Publication]
    next: None = None


def routes(open_work: OpenWork, operator: str) -> APIRouter:
    """The routes, over whatever wiring opens; `operator` is the URI name that may write."""
    router = APIRouter(prefix="/v1")
    operators = [Depends(operator_alone(operator))]
    anyone_named = [Depends(caller_of)]

    @router.put("/agencies/{agency}", dependencies=operators)
    async def put_agency(agency: AgencyId, content: AgencyDocument) -> PublicationReceipt:
        """Admit an agency, or publish its next version."""
        if content.agency != agency:
            raise OtherId
        async with open_work() as work:
            return await admit_agency(content, work)

    @router.put("/protocols/{protocol}", dependencies=operators)
    async def put_protocol(protocol: ProtocolId, content: ProtocolDocument) -> PublicationReceipt:
        """Publish a sharing protocol, or its next version."""
        if content.id != protocol:
            raise OtherId
        async with open_work() as work:
            return await publish_protocol(content, work)

    @router.get("/agencies", dependencies=anyone_named)
    async def list_agencies() -> PublicationList:
        """Every agency as it stands."""
        async with open_work() as work:
            return PublicationList(data=await work.publications.all("agency"))

    @router.get("/protocols", dependencies=anyone_named)
    async def list_protocols() -> PublicationList:
        """Every protocol as it stands."""
        async with open_work() as work:
            return PublicationList(data=await work.publications.all("protocol"))

    return router
