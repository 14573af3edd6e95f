"""What is in force, in PostgreSQL: agencies, protocols, directory entries; the promises: `Register`."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from schemas.events.access import ProtocolVersion
from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.wire.body import Body
from services.runtime.admission import AgencyStanding
from services.runtime.transaction import Transaction, columns
from services.sector.handlers.work import DirectoryEntry, Register

_KEEP: Final[Mapping[type[Body], str]] = {
    AgencyCurrent: """
INSERT INTO agency AS a (id, version, sector, organization, status)
SELECT * FROM unnest(CAST(:agency AS text[]), CAST(:version AS bigint[]), CAST(:sector AS text[]),
  CAST(:organization AS text[]), CAST(:status AS text[]))
ON CONFLICT (id) DO UPDATE SET version = excluded.version, sector = excluded.sector,
  organization = excluded.organization, status = excluded.status
WHERE a.version < excluded.version""",
    ProtocolCurrent: """
INSERT INTO protocol (hash, id, version)
SELECT * FROM unnest(CAST(:hash AS text[]), CAST(:id AS text[]), CAST(:version AS bigint[]))
ON CONFLICT (hash) DO NOTHING""",
    ServiceRegistered: """
INSERT INTO directory_entry
  (service, organization, title, organization_title, status, needs, desk, confirmed_at)
SELECT service, organization, title, organization_title, status, string_to_array(needs, ' '), desk,
  confirmed_at
FROM unnest(CAST(:service AS text[]), CAST(:organization AS text[]), CAST(:title AS text[]),
    CAST(:organization_title AS text[]), CAST(:status AS text[]), CAST(:needs AS text[]),
    CAST(:desk AS text[]), CAST(:confirmed_at AS timestamptz[]))
  AS row (service, organization, title, organization_title, status, needs, desk, confirmed_at)
ON CONFLICT (service) DO UPDATE SET organization = excluded.organization, title = excluded.title,
  organization_title = excluded.organization_title, status = excluded.status, needs = excluded.needs,
  desk = excluded.desk, confirmed_at = excluded.confirmed_at""",
}
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


class RegisterStore(Register):
    """Agencies, protocols and directory entries as they stand now."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def keep(self, kind: type[Body], bodies: Collection[Body]) -> None:
        await self._transaction.run(_KEEP[kind], **_parameters(kind, bodies))

    async def standings(self, agencies: Collection[str]) -> Mapping[str, AgencyStanding]:
        rows = await self._transaction.rows(_STANDINGS, ids=list(agencies))
        return {row.id: AgencyStanding(row.sector, row.is_active) for row in rows}

    async def entries(self, after: str, limit: int) -> Sequence[DirectoryEntry]:
        rows = await self._transaction.rows(_ENTRIES, after=after, limit=limit)
        return [DirectoryEntry.model_validate(row, from_attributes=True) for row in rows]

    async def protocol_with(self, document_hash: str) -> ProtocolVersion | None:
        for row in await self._transaction.rows(_PROTOCOL, hash=document_hash):
            return ProtocolVersion(id=row.id, hash=bytes.fromhex(document_hash))
        return None


def _parameters(kind: type[Body], bodies: Collection[Any]) -> dict[str, list[Any]]:
    if kind is AgencyCurrent:
        return columns(bodies, "agency", "version", "sector", "organization", "status")
    if kind is ProtocolCurrent:
        return columns(bodies, "hash") | columns([one.document for one in bodies], "id", "version")
    needs = [" ".join(one.needs) for one in bodies]
    names = ("service", "organization", "title", "organization_title", "status", "desk", "confirmed_at")
    return columns(bodies, *names) | {"needs": needs}
