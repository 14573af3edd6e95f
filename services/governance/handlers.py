"""What governance does with an agency, a service or a protocol that the operator hands in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent, document_hash
from schemas.events.governance_keys import GovernanceBody, GovernanceKeys, version_of
from schemas.wire.body import key_of
from services.governance import domain
from services.runtime.clock import Clock


class Publications(Protocol):
    """What was published; each method may raise Unavailable, all is durable at commit."""

    async def current(self, name: str) -> domain.Publication | None:
        """The last version of this id, of whatever kind; waits for others, and none adds one until commit."""

    async def all(self, kind: domain.Kind) -> Sequence[domain.Publication]:
        """The last version of everything of this kind, by id."""

    async def admitted(self, ids: Collection[str]) -> Mapping[str, str]:
        """Which of these ids are agencies, each with its sector."""

    async def hold(self, holder: str, keys: Collection[str]) -> bool:
        """Note whose keys these are, for good; waits for others who do. False if one is or was another's."""

    async def is_answered(self, organization: str, *, but: str) -> bool:
        """Whether an active agency but this one answers for it; waits for others; none joins until commit."""

    async def publish(self, publication: domain.Publication) -> None:
        """Keep a version, and its event in the outbox of the same transaction."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler of this service may touch, opened for one transaction."""

    publications: Publications
    keys: GovernanceKeys
    clock: Clock


async def admit_agency(agency: AgencyCurrent, work: Work) -> domain.PublicationReceipt:
    """Take the next version of an agency; its keys are its own, and it alone answers for its organisation."""
    domain.check_agency(agency)
    receipt = await _publish("agency", agency, work)
    if not receipt.is_news:
        return receipt
    if not await work.publications.hold(agency.agency, domain.keys_of(agency)):
        raise domain.KeyInUse
    answers = agency.status == "active"  # a suspension passes, whoever else is there
    if answers and await work.publications.is_answered(agency.organization, but=agency.agency):
        raise domain.OrganizationInUse
    return receipt


async def publish_service(service: ServiceCurrent, work: Work) -> domain.PublicationReceipt:
    """Take the next version of a sector service; its keys are its own."""
    domain.check_service(service)
    receipt = await _publish("service", service, work)
    if receipt.is_news and not await work.publications.hold(service.service, domain.keys_of(service)):
        raise domain.KeyInUse
    return receipt


async def publish_protocol(protocol: ProtocolCurrent, work: Work) -> domain.PublicationReceipt:
    """Take the next version of a protocol between admitted agencies."""
    document = protocol.document
    domain.check_protocol(document, await work.publications.admitted(document.parties))
    return await _publish("protocol", protocol, work)


async def _publish(kind: domain.Kind, content: GovernanceBody, work: Work) -> domain.PublicationReceipt:
    name, version = key_of(content), version_of(content)
    digest = content.hash if isinstance(content, ProtocolCurrent) else document_hash(content)
    publication = domain.Publication(kind, name, version, digest, content, work.clock.now())
    last = await work.publications.current(name)
    is_news = domain.is_new(publication, last)
    if is_news:
        domain.check_signed(content, last, work.keys)
        await work.publications.publish(publication)
    return domain.PublicationReceipt(name, version, digest, is_news)
