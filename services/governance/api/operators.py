"""Governance for the operator's command and for the other services, on the internal port."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from schemas.events.governance import Sector
from schemas.ids import AgencyId, ProtocolId
from services.governance.domain.figures import Indicator
from services.governance.domain.founding import FoundingAct
from services.governance.domain.publications import (
    AgencyDocument,
    OtherId,
    ProbeProtocol,
    Publication,
    PublicationReceipt,
    ServiceDocument,
)
from services.governance.handlers import (
    ActReceipt,
    RebuildReceipt,
    Work,
    admit_agency,
    found,
    publish_probe_protocol,
    publish_service,
    rebuild,
)
from services.runtime.web import caller_of

OpenWork = Callable[[], AbstractAsyncContextManager[Work]]


class PublicationList(BaseModel):
    """All of one kind as they stand; a list of this length needs no cursor."""

    data: Sequence[Publication]
    next: None = None


def operators_routes(open_work: OpenWork, indicators: Mapping[str, Indicator]) -> APIRouter:
    """What the operator publishes, over whatever wiring opens."""
    router = APIRouter(prefix="/v1")

    @router.put("/agencies/{agency}")
    async def put_agency(agency: AgencyId, content: AgencyDocument) -> PublicationReceipt:
        """Admit an agency, or publish its next version."""
        if content.agency != agency:
            raise OtherId
        async with open_work() as work:
            return await admit_agency(content, work)

    @router.put("/services/{service}")
    async def put_service(service: Sector, content: ServiceDocument) -> PublicationReceipt:
        """Publish a sector service's keys, or its next version."""
        if content.service != service:
            raise OtherId
        async with open_work() as work:
            return await publish_service(content, work)

    @router.put("/protocols/{protocol}")
    async def put_protocol(protocol: ProtocolId, content: ProbeProtocol) -> PublicationReceipt:
        """Put a protocol among probes in force, or its next version."""
        if content.document.id != protocol:
            raise OtherId
        async with open_work() as work:
            return await publish_probe_protocol(content, work)

    @router.put("/founding")
    async def put_founding(content: FoundingAct) -> ActReceipt:
        """Take the founding act: the first partners, the first committee, its mandate."""
        async with open_work() as work:
            return await found(content, work)

    @router.post("/figures/rebuild")
    async def rebuild_figures() -> RebuildReceipt:
        """Count every figure anew from the kept facts; what was released stays as it was."""
        async with open_work() as work:
            return await rebuild(indicators.values(), work)

    return router


def routes(open_work: OpenWork) -> APIRouter:
    """What every service may read."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(caller_of)])

    @router.get("/agencies")
    async def list_agencies() -> PublicationList:
        """Every agency as it stands."""
        async with open_work() as work:
            return PublicationList(data=await work.publications.all("agency"))

    @router.get("/services")
    async def list_services() -> PublicationList:
        """Every sector service as it stands."""
        async with open_work() as work:
            return PublicationList(data=await work.publications.all("service"))

    @router.get("/protocols")
    async def list_protocols() -> PublicationList:
        """Every protocol as it stands."""
        async with open_work() as work:
            return PublicationList(data=await work.publications.all("protocol"))

    return router
