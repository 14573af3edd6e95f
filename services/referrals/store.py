"""Referrals and what stands around them, in PostgreSQL; one statement a table for a whole batch."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter
from pydantic_core import to_json

from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ProtocolDocument
from schemas.events.life_cycle import State
from schemas.events.unmet_need import UnmetNeedRecorded
from schemas.topics import DIRECTORY_STATE, REFERRALS_FACTS
from services.referrals.domain.addressing import Pair, address_facts, count_numbers, numbers_from
from services.referrals.domain.gate import AdmittedAgency, InForce, ListedService
from services.referrals.domain.referral import Deadline, Outcome, Referral
from services.referrals.handlers import Store
from services.runtime.crash import crash_point
from services.runtime.errors import Unavailable
from services.runtime.outbox import Outbox
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Row, Transaction, columns

_COLUMNS: Final = """
id, owner, owner_desk, receiver, receiver_desk, service, state, urgency, feedback_allowed, protocol, groups,
consent_version, hop, attempt, seal_by_at, deadlines, version"""
_LOAD: Final = f"""
SELECT {_COLUMNS} FROM referral WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR UPDATE"""  # noqa: S608
_DUE: Final = f"""
SELECT {_COLUMNS} FROM referral WHERE due_at <= :at
ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED"""  # noqa: S608
_SAVE: Final = f"""
INSERT INTO referral AS r ({_COLUMNS}, due_at)
SELECT * FROM unnest(
  CAST(:id AS text[]), CAST(:owner AS text[]), CAST(:owner_desk AS text[]), CAST(:receiver AS text[]),
  CAST(:receiver_desk AS text[]), CAST(:service AS text[]), CAST(:state AS text[]), CAST(:urgency AS text[]),
  CAST(:feedback_allowed AS boolean[]), CAST(:protocol AS text[]), CAST(:groups AS text[]),
  CAST(:consent_version AS integer[]), CAST(:hop AS integer[]), CAST(:attempt AS integer[]),
  CAST(:seal_by_at AS timestamptz[]), CAST(:deadlines AS text[]), CAST(:version AS bigint[]),
  CAST(:due_at AS timestamptz[]))
ON CONFLICT (id) DO UPDATE SET receiver_desk = excluded.receiver_desk, state = excluded.state,
  feedback_allowed = excluded.feedback_allowed, protocol = excluded.protocol, groups = excluded.groups,
  consent_version = excluded.consent_version, attempt = excluded.attempt, seal_by_at = excluded.seal_by_at,
  deadlines = excluded.deadlines, version = excluded.version, due_at = excluded.due_at
WHERE r.version < excluded.version
RETURNING id"""  # noqa: S608
_UNANSWERED: Final = """
SELECT min(CAST(deadlines AS jsonb) #>> '{answer,since_at}') AS since_at FROM referral r
WHERE state IN ('offered', 'acknowledged')
  AND NOT EXISTS (SELECT FROM agency a WHERE a.id = r.owner AND CAST(a.document ->> 'probe' AS boolean))"""
_NUMBER: Final = """
INSERT INTO addressed AS a (referral, agency, last)
SELECT * FROM unnest(CAST(:referrals AS text[]), CAST(:agencies AS text[]), CAST(:counts AS bigint[]))
ON CONFLICT (referral, agency) DO UPDATE SET last = a.last + excluded.last
RETURNING referral, agency, last"""
_ENTRIES: Final = """
SELECT service, organization, desk, status = 'active' AS is_active, confirmed_at FROM directory_entry
WHERE service = ANY(CAST(:services AS text[]))"""
_AGENCIES: Final = """
SELECT id, sector, organization, status = 'active' AS is_active,
  COALESCE(CAST(document ->> 'probe' AS boolean), false) AS is_probe
FROM agency
WHERE id = ANY(CAST(:ids AS text[])) OR organization = ANY(CAST(:organizations AS text[])) ORDER BY id"""
_LAST_AGENCIES: Final = """
SELECT id, CAST(document AS text) AS document FROM agency WHERE id = ANY(CAST(:ids AS text[]))"""
_LAST_PROTOCOLS: Final = """
SELECT DISTINCT ON (id) id, CAST(document AS text) AS document FROM protocol
WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id, version DESC"""
_CURRENT: Final = "SELECT hash FROM protocol ORDER BY id, version DESC"
_DOCUMENTS: Final = """
SELECT hash, CAST(document -> 'document' AS text) AS document FROM protocol
WHERE hash = ANY(CAST(:hashes AS text[]))"""
_KEEP_AGENCIES: Final = """
INSERT INTO agency AS a (id, version, sector, organization, status, document)
SELECT id, version, sector, organization, status, CAST(document AS jsonb)
FROM unnest(CAST(:agency AS text[]), CAST(:version AS bigint[]), CAST(:sector AS text[]),
            CAST(:organization AS text[]), CAST(:status AS text[]), CAST(:document AS text[]))
  AS n (id, version, sector, organization, status, document)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, sector = excluded.sector,
  organization = excluded.organization, status = excluded.status, document = excluded.document
WHERE a.version < excluded.version"""
_KEEP_PROTOCOLS: Final = """
INSERT INTO protocol (hash, id, version, document)
SELECT hash, id, version, CAST(document AS jsonb)
FROM unnest(CAST(:hash AS text[]), CAST(:id AS text[]), CAST(:version AS bigint[]),
            CAST(:document AS text[])) AS p (hash, id, version, document)
ON CONFLICT (hash) DO NOTHING"""
_ENTRY: Final = """
service, organization, title, organization_title, status, needs, areas, languages, access_needs, desk,
confirmed_at"""
_KEEP_ENTRIES: Final = f"""
INSERT INTO directory_entry AS e ({_ENTRY})
SELECT {_ENTRY} FROM jsonb_populate_recordset(
  CAST(NULL AS directory_entry), CAST(CAST(:entries AS text) AS jsonb))
ORDER BY service
ON CONFLICT (service) DO UPDATE SET ({_ENTRY}) = (SELECT {_ENTRY} FROM (SELECT excluded.*) n)
WHERE e IS DISTINCT FROM excluded
RETURNING service"""  # noqa: S608
_COUNT_UNMET: Final = """
INSERT INTO unmet_need
SELECT * FROM jsonb_populate_recordset(
  CAST(NULL AS unmet_need), CAST(CAST(:needs AS text) AS jsonb))
ON CONFLICT (unmet) DO NOTHING
RETURNING unmet"""

ProtocolCache = dict[str, ProtocolDocument]
"""Protocol documents by hash, kept by the process: what a hash names never changes."""


class LostUpdate(Unavailable):
    """Another process saved one of these referrals first; the same batch again finds it."""


class ReferralStore(Store):
    """Referrals, none saved without the fact that explains it; agencies, protocols and the directory."""

    def __init__(self, transaction: Transaction, outbox: Outbox, cache: ProtocolCache) -> None:
        self._transaction = transaction
        self._outbox = outbox
        self._cache = cache

    async def load(self, ids: Collection[str]) -> dict[str, Referral | None]:
        rows = await self._transaction.rows(_LOAD, ids=list(ids))
        found: dict[str, Referral | None] = {row.id: _referral(row) for row in rows}
        return {referral: found.get(referral) for referral in ids}

    async def due(self, at: datetime, most: int) -> list[Referral]:
        found = [_referral(row) for row in await self._transaction.rows(_DUE, at=at, most=most)]
        crash_point("sweeper.found")  # locks go with the connection; the next sweep finds the same
        return found

    async def unanswered_since(self) -> datetime | None:
        """Since when the oldest offer waits that nobody has answered."""
        [row] = await self._transaction.rows(_UNANSWERED)
        return datetime.fromisoformat(row.since_at) if row.since_at else None

    async def save(self, outcomes: Sequence[Outcome], in_force: InForce) -> None:
        await self._keep({one.referral.id: one.referral for one in outcomes if one.referral and one.facts})
        counts = count_numbers(outcomes)
        numbers = numbers_from(counts, await self._last(counts))
        await self._outbox.add(self._transaction, list(address_facts(outcomes, numbers, in_force)))

    async def _keep(self, changed: Mapping[str, Referral]) -> None:
        if not changed:
            return
        rows = [changed[referral] for referral in sorted(changed)]
        named = columns(rows, *_NAMES, "due_at") | {
            "groups": [" ".join(row.groups) for row in rows],
            "deadlines": [_DEADLINES.dump_json(row.deadlines).decode() for row in rows],
        }
        kept = await self._transaction.rows(_SAVE, **named)
        if len(kept) != len(rows):
            raise LostUpdate

    async def _last(self, counts: Mapping[Pair, int]) -> dict[Pair, int]:
        if not counts:
            return {}
        pairs = sorted(counts)  # one order for all writers: no deadlock
        rows = await self._transaction.rows(
            _NUMBER,
            referrals=[referral for referral, _ in pairs],
            agencies=[agency for _, agency in pairs],
            counts=[counts[pair] for pair in pairs],
        )
        return {(referral, agency): last for referral, agency, last in rows}

    async def in_force(
        self, agencies: Collection[str], services: Collection[str], protocols: Collection[str]
    ) -> InForce:
        listed = await self._transaction.rows(_ENTRIES, services=list(services)) if services else ()
        entries = {row.service: ListedService(*tuple(row)) for row in listed}
        organizations = {entry.organization for entry in entries.values()}
        rows = await self._transaction.rows(_AGENCIES, ids=list(agencies), organizations=list(organizations))
        published = await self._transaction.rows(_CURRENT) if services else ()
        current = tuple(row.hash for row in published)
        missing = {*protocols, *current} - self._cache.keys()
        for row in await self._transaction.rows(_DOCUMENTS, hashes=list(missing)) if missing else ():
            self._cache[row.hash] = ProtocolDocument.model_validate_json(row.document)
        return InForce(
            agencies={row.id: AdmittedAgency(*tuple(row)) for row in rows},
            entries=entries,
            protocols=self._cache,
            current=current,
        )

    async def last_agencies(self, agencies: Collection[str]) -> dict[str, AgencyCurrent]:
        rows = await self._transaction.rows(_LAST_AGENCIES, ids=list(agencies)) if agencies else ()
        return {row.id: AgencyCurrent.model_validate_json(row.document) for row in rows}

    async def last_protocols(self, protocols: Collection[str]) -> dict[str, ProtocolCurrent]:
        rows = await self._transaction.rows(_LAST_PROTOCOLS, ids=list(protocols)) if protocols else ()
        return {row.id: ProtocolCurrent.model_validate_json(row.document) for row in rows}

    async def keep_agencies(self, agencies: Sequence[AgencyCurrent]) -> None:
        newest = {one.agency: one for one in sorted(agencies, key=lambda one: one.version)}
        rows = [newest[agency] for agency in sorted(newest)]
        if rows:
            names = ("agency", "version", "sector", "organization", "status")
            texts = [row.model_dump_json() for row in rows]
            await self._transaction.run(_KEEP_AGENCIES, **columns(rows, *names), document=texts)

    async def keep_protocols(self, protocols: Sequence[ProtocolCurrent]) -> None:
        rows = sorted({one.hash: one for one in protocols}.values(), key=lambda one: one.hash)
        if rows:
            documents = [row.document for row in rows]
            named = columns(rows, "hash") | columns(documents, "id", "version")
            texts = [row.model_dump_json() for row in rows]
            await self._transaction.run(_KEEP_PROTOCOLS, **named, document=texts)

    async def keep_entries(self, entries: Sequence[ServiceRegistered], at: datetime) -> int:
        kept = await self._transaction.rows(_KEEP_ENTRIES, entries=to_json(entries).decode())
        changed = {row.service for row in kept}
        registered = [OutboxEvent(DIRECTORY_STATE, one, at) for one in entries if one.service in changed]
        await self._outbox.add(self._transaction, registered)
        return len(changed)

    async def count_unmet(self, needs: Sequence[UnmetNeedRecorded], at: datetime) -> None:
        kept = await self._transaction.rows(_COUNT_UNMET, needs=to_json(needs).decode())
        fresh = {row.unmet for row in kept}
        recorded = [OutboxEvent(REFERRALS_FACTS, one, at) for one in needs if one.unmet in fresh]
        await self._outbox.add(self._transaction, recorded)


_DEADLINES: Final = TypeAdapter(Mapping[str, Deadline])
_NAMES: Final = tuple(name.strip() for name in _COLUMNS.split(","))


def _referral(row: Row) -> Referral:
    values = dict(zip(_NAMES, row, strict=True))
    values |= {"state": State(values["state"]), "groups": tuple(values["groups"].split())}
    return Referral(**values | {"deadlines": _DEADLINES.validate_json(values["deadlines"])})
