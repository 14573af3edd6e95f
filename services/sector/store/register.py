"""What is in force, in PostgreSQL: what governance signed, and the directory; the promises: `Register`."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

from schemas.events.access import ProtocolVersion
from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.governance_keys import GovernanceBody
from schemas.wire.body import Body
from services.runtime.admission import AgencyStanding
from services.runtime.transaction import Transaction
from services.sector.domain.directory import CANDIDATES_MAX, DirectoryEntry, LiveProtocol, ServiceSearch
from services.sector.handlers.work import Register

_ENTRY: Final = """
service, organization, title, organization_title, status, needs, areas, languages, access_needs, desk,
confirmed_at"""
_KEEP: Final[Mapping[type[Body], str]] = {
    AgencyCurrent: """
INSERT INTO agency AS a (id, version, sector, organization, status, document)
SELECT body ->> 'agency', CAST(body ->> 'version' AS bigint), body ->> 'sector', body ->> 'organization',
  body ->> 'status', body
FROM jsonb_array_elements(CAST(CAST(:bodies AS text) AS jsonb)) AS body
ON CONFLICT (id) DO UPDATE SET version = excluded.version, sector = excluded.sector,
  organization = excluded.organization, status = excluded.status, document = excluded.document
WHERE a.version < excluded.version""",
    ServiceCurrent: """
INSERT INTO service_key AS s (service, version, status, document)
SELECT body ->> 'service', CAST(body ->> 'version' AS bigint), body ->> 'status', body
FROM jsonb_array_elements(CAST(CAST(:bodies AS text) AS jsonb)) AS body
ON CONFLICT (service) DO UPDATE SET version = excluded.version, status = excluded.status,
  document = excluded.document
WHERE s.version < excluded.version""",
    ProtocolCurrent: """
INSERT INTO protocol (hash, id, version, document)
SELECT body ->> 'hash', body #>> '{document,id}', CAST(body #>> '{document,version}' AS bigint), body
FROM jsonb_array_elements(CAST(CAST(:bodies AS text) AS jsonb)) AS body
ON CONFLICT (hash) DO NOTHING""",
    ServiceRegistered: f"""
INSERT INTO directory_entry ({_ENTRY})
SELECT {_ENTRY} FROM jsonb_populate_recordset(
  CAST(NULL AS directory_entry), CAST(CAST(:bodies AS text) AS jsonb))
ON CONFLICT (service) DO UPDATE SET ({_ENTRY}) = (SELECT {_ENTRY} FROM (SELECT excluded.*) n)""",  # noqa: S608
}
_LAST: Final[Mapping[type[GovernanceBody], str]] = {
    AgencyCurrent: """
SELECT id, CAST(document AS text) AS document FROM agency WHERE id = ANY(CAST(:names AS text[]))""",
    ServiceCurrent: """
SELECT service AS id, CAST(document AS text) AS document FROM service_key
WHERE service = ANY(CAST(:names AS text[]))""",
    ProtocolCurrent: """
SELECT DISTINCT ON (id) id, CAST(document AS text) AS document FROM protocol
WHERE id = ANY(CAST(:names AS text[])) ORDER BY id, version DESC""",
}
_STANDINGS: Final = """
SELECT id, sector, status = 'active' AS is_active FROM agency WHERE id = ANY(CAST(:ids AS text[]))"""
_PROTOCOL: Final = "SELECT id FROM protocol WHERE hash = :hash"
_DOCUMENTS: Final = """
SELECT CAST(a.document AS text) AS recipient, CAST(p.document AS text) AS protocol,
  CAST(s.document AS text) AS service
FROM agency a, protocol p, service_key s
WHERE a.id = :recipient AND p.hash = :protocol AND s.service = :service"""
_ENTRIES: Final = """
SELECT e.*, a.id AS agency, a.sector
FROM directory_entry e LEFT JOIN LATERAL (
  SELECT id, sector FROM agency
  WHERE organization = e.organization AND status = 'active' ORDER BY id LIMIT 1) a ON true
WHERE e.service > :after AND NOT EXISTS (
  SELECT FROM agency WHERE organization = e.organization AND document ->> 'probe' = 'true')
ORDER BY e.service LIMIT :limit"""
"""A probe helps nobody: neither a list nor a search shows it."""

_CANDIDATES: Final = """
SELECT e.*, a.id AS agency, a.sector
FROM directory_entry e CROSS JOIN LATERAL (
  SELECT id, sector FROM agency
  WHERE organization = e.organization AND status = 'active'
    AND document ->> 'probe' IS DISTINCT FROM 'true' ORDER BY id LIMIT 1) a
WHERE :need = ANY(e.needs) AND e.status = 'active' AND a.id <> :asker
  AND a.sector = coalesce(:sector, a.sector)
  AND (e.areas = '{}' OR EXISTS (
    SELECT FROM unnest(e.areas) own WHERE starts_with(:area, own) OR starts_with(own, :area)))
ORDER BY e.confirmed_at DESC, e.service LIMIT :limit"""
_LIVE: Final = """
SELECT document -> 'document' -> 'parties' AS parties,
  CAST(document #>> '{document,entry_fresh_for_days}' AS integer) AS entry_fresh_for_days
FROM (
  SELECT DISTINCT ON (id) document FROM protocol
  WHERE CAST(document #>> '{document,valid_from}' AS timestamptz) <= :at ORDER BY id, version DESC) begun
WHERE CAST(document #>> '{document,valid_until}' AS timestamptz) > :at
  AND document #> '{document,parties}' @> to_jsonb(CAST(:agency AS text))"""


class RegisterStore(Register):
    """Agencies, services, protocols and directory entries as they stand now."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def keep(self, kind: type[Body], bodies: Collection[Body]) -> None:
        await self._transaction.run(_KEEP[kind], bodies=to_json(list(bodies)).decode())

    async def last(self, kind: type[GovernanceBody], names: Collection[str]) -> Mapping[str, Any]:
        rows = await self._transaction.rows(_LAST[kind], names=list(names))
        return {row.id: kind.model_validate_json(row.document) for row in rows}

    async def standings(self, agencies: Collection[str]) -> Mapping[str, AgencyStanding]:
        rows = await self._transaction.rows(_STANDINGS, ids=list(agencies))
        return {row.id: AgencyStanding(row.sector, row.is_active) for row in rows}

    async def entries(self, after: str, limit: int) -> Sequence[DirectoryEntry]:
        rows = await self._transaction.rows(_ENTRIES, after=after, limit=limit)
        return [DirectoryEntry.model_validate(row, from_attributes=True) for row in rows]

    async def documents(self, recipient: str, protocol: str, service: str) -> Mapping[str, str] | None:
        named = {"recipient": recipient, "protocol": protocol, "service": service}
        for row in await self._transaction.rows(_DOCUMENTS, **named):
            return dict(row)
        return None

    async def candidates(self, search: ServiceSearch, asker: str) -> Sequence[DirectoryEntry]:
        named = {"need": search.need, "area": search.area, "sector": search.sector, "asker": asker}
        rows = await self._transaction.rows(_CANDIDATES, **named, limit=CANDIDATES_MAX)
        return [DirectoryEntry.model_validate(row, from_attributes=True) for row in rows]

    async def live_protocols(self, agency: str, at: datetime) -> Sequence[LiveProtocol]:
        rows = await self._transaction.rows(_LIVE, agency=agency, at=at)
        return [LiveProtocol(frozenset(json.loads(row.parties)), row.entry_fresh_for_days) for row in rows]

    async def protocol_with(self, document_hash: str) -> ProtocolVersion | None:
        for row in await self._transaction.rows(_PROTOCOL, hash=document_hash):
            return ProtocolVersion(id=row.id, hash=bytes.fromhex(document_hash))
        return None
