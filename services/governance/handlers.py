"""What governance does with an agency or a protocol that the operator hands in."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.events.governance import AgencyCurrent, ProtocolDocument
from services.governance.domain import (
    KeyInUse,
    Kind,
    OrganizationInUse,
    Publication,
    agency_hash,
    check_agency,
    check_parties,
    is_new,
)
from services.runtime.clock import Clock


class Register(Protocol):
    """What was published, inside the open transaction."""

    async def current(self, name: str) -> Publication | None:
        """The last version of this id, of whatever kind; nobody else adds one until commit."""

    async def all(self, kind: Kind) -> Sequence[Publication]:
        """The last version of everything of this kind, by id."""

    async def admitted(self, ids: Collection[str]) -> frozenset[str]:
        """Which of these ids are agencies."""

    async def hold(self, agency: str, keys: Collection[str]) -> bool:
        """Note whose keys these are, for good; False if one of them is or was another's."""

    async def is_answered(self, organization: str, *, but: str) -> bool:
        """Whether an active agency but this one answers for the organisation; none joins until commit."""

    async def publish(self, publication: Publication) -> None:
        """Keep a version and send it out; both durable at commit."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler of this service may touch, opened for one transaction."""

    register: Register
    clock: Clock


async def admit_agency(agency: AgencyCurrent, work: Work) -> tuple[Publication, bool]:
    """Take the next version of an agency; give what stands now, and whether it is news."""
    check_agency(agency)
    publication = Publication(
        "agency", agency.agency, agency.version, agency_hash(agency), agency, work.clock.now()
    )
    published, is_news = await _publish(publication, work)
    if is_news and not await work.register.hold(agency.agency, {agency.signing_key, agency.encryption_key}):
        raise KeyInUse
    answers = is_news and agency.status == "active"  # a suspension passes, whoever else is there
    if answers and await work.register.is_answered(agency.organization, but=agency.agency):
        raise OrganizationInUse
    return published, is_news


async def publish_protocol(document: ProtocolDocument, digest: str, work: Work) -> tuple[Publication, bool]:
    """Take the next version of a protocol of admitted agencies; give what stands, and whether it is news."""
    check_parties(document, await work.register.admitted(document.parties))
    publication = Publication("protocol", document.id, document.version, digest, document, work.clock.now())
    return await _publish(publication, work)


async def _publish(publication: Publication, work: Work) -> tuple[Publication, bool]:
    is_news = is_new(publication, await work.register.current(publication.id))
    if is_news:
        await work.register.publish(publication)
    return publication, is_news
