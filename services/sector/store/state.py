"""What is in force, in PostgreSQL: agencies, protocols, directory entries; and the way out to the arbiter."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.events.referral import StepBase, StepRefused
from schemas.topics import steps_of
from services.runtime.admission import AgencyStanding
from services.runtime.ids import new_id
from services.runtime.logs import log
from services.runtime.outbox import Outbox, Outgoing
from services.runtime.transaction import Transaction
from services.sector.handlers.work import Entry

_KEEP_AGENCIES: Final = """
INSERT INTO agency AS a (id, version, sector, organization, status)
SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:versions AS bigint[]), CAST(:sectors AS text[]),
  CAST(:organizations AS text[]), CAST(:statuses AS text[]))
ON CONFLICT (id) DO UPDATE SET version = excluded.version, sector = excluded.sector,
  organization = excluded.organization, status = excluded.status
WHERE a.version < excluded.version"""
_KEEP_PROTOCOLS: Final = """
INSERT INTO protocol (hash, id, version)
SELECT * FROM unnest(CAST(:hashes AS text[]), CAST(:ids AS text[]), CAST(:versions AS bigint[]))
ON CONFLICT (hash) DO NOTHING"""
_KEEP_ENTRIES: Final = """
INSERT INTO directory_entry
  (service, organization, title, organization_title, status, needs, desk, confirmed_at)
SELECT service, organization, title, organization_title, status, string_to_array(needs, ' '), desk,
  confirmed_at
FROM unnest(CAST(:services AS text[]), CAST(:organizations AS text[]), CAST(:titles AS text[]),
    CAST(:organization_titles AS text[]), CAST(:statuses AS text[]), CAST(:needs AS text[]),
    CAST(:desks AS text[]), CAST(:confirmed AS timestamptz[]))
  AS row (service, organization, title, organization_title, status, needs, desk, confirmed_at)
ON CONFLICT (service) DO UPDATE SET organization = excluded.organization, title = excluded.title,
  organization_title = excluded.organization_title, status = excluded.status, needs = excluded.needs,
  desk = excluded.desk, confirmed_at = excluded.confirmed_at"""
_STANDINGS: Final = """
SELECT id, sector, status = 'active' AS is_active FROM agency WHERE id = ANY(CAST(:ids AS text[]))"""
_PROTOCOL: Final = "SELECT id FROM protocol WHERE hash = :hash"
_ENTRIES: Final = """
SELECT e.service, e.organization, e.title, e.organization_title, e.status, e.needs, e.desk, e.confirmed_at,
  a.id AS agency, a.sector
FROM directory_entry e LEFT JOIN LATERAL (
  SELECT id, sector FROM agency
  WHERE organization = e.organization AND status = 'active' ORDER BY id LIMIT 1) a ON true
WHERE e.service > :after ORDER BY e.service LIMIT :limit"""


class StateStore:
    """Agencies, protocols and directory entries as they stand now."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def keep_agencies(self, agencies: Collection[AgencyCurrent]) -> None:
        """Keep each agency unless a newer version is known."""
        if agencies:
            await self._transaction.run(
                _KEEP_AGENCIES,
                ids=[one.agency for one in agencies],
                versions=[one.version for one in agencies],
                sectors=[one.sector for one in agencies],
                organizations=[one.organization for one in agencies],
                statuses=[one.status for one in agencies],
            )

    async def keep_protocols(self, protocols: Collection[ProtocolCurrent]) -> None:
        """Keep the hash of every version: live referrals rest on older ones."""
        if protocols:
            await self._transaction.run(
                _KEEP_PROTOCOLS,
                hashes=[one.hash for one in protocols],
                ids=[one.document.id for one in protocols],
                versions=[one.document.version for one in protocols],
            )

    async def keep_entries(self, entries: Collection[ServiceRegistered]) -> None:
        """Keep each directory entry as it stands now."""
        if entries:
            await self._transaction.run(
                _KEEP_ENTRIES,
                services=[one.service for one in entries],
                organizations=[one.organization for one in entries],
                titles=[one.title for one in entries],
                organization_titles=[one.organization_title for one in entries],
                statuses=[one.status for one in entries],
                needs=[" ".join(one.needs) for one in entries],
                desks=[one.desk for one in entries],
                confirmed=[one.confirmed_at for one in entries],
            )

    async def admissions(self, agencies: Collection[str]) -> Mapping[str, AgencyStanding]:
        """Agency → how it stands, for those that governance has named."""
        rows = await self._transaction.rows(_STANDINGS, ids=list(agencies))
        return {row.id: AgencyStanding(row.sector, row.is_active) for row in rows}

    async def entries(self, after: str, limit: int) -> Sequence[Entry]:
        """Directory entries behind a service id."""
        rows = await self._transaction.rows(_ENTRIES, after=after, limit=limit)
        return [
            Entry(ServiceRegistered.model_validate(row, from_attributes=True), row.agency, row.sector)
            for row in rows
        ]

    async def protocol_with(self, document_hash: str) -> str | None:
        """The id of the protocol with this hash, or None."""
        for row in await self._transaction.rows(_PROTOCOL, hash=document_hash):
            return str(row.id)
        return None


class StepStore:
    """The way to the arbiter: this sector's steps, through the outbox."""

    def __init__(self, transaction: Transaction, outbox: Outbox, sector: str) -> None:
        self._transaction = transaction
        self._outbox = outbox
        self._topic = steps_of(sector)

    async def send(self, step: StepBase, *, at: datetime) -> str:
        """Put the step into the outbox; gives its event id."""
        event = new_id("event")
        outgoing = Outgoing(
            topic=self._topic,
            key=step.referral,
            body=step,
            subject=step.referral,
            correlation=step.referral,
            at=at,
            id=event,
        )
        await self._outbox.add(self._transaction, [outgoing])
        return event

    def disown(self, refused: StepRefused) -> None:
        """Say aloud that a step went out from here for an agency that is another sector's."""
        log().error("step_disowned", agency_id=refused.to, error_code=refused.code)
