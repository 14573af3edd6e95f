"""Published versions in PostgreSQL; the only SQL of governance."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from pydantic_core import to_json

from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.governance_keys import GovernanceBody
from schemas.topics import GOVERNANCE_STATE
from services.governance.domain import Kind, Publication
from services.governance.handlers import Publications
from services.runtime.outbox import Outbox
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Row, Transaction

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(:id, 0))"
_LAST: Final = """
SELECT DISTINCT ON (id) kind, id, version, hash, CAST(content AS text) AS content, published_at
FROM publication WHERE {which} ORDER BY id, version DESC
"""
_CURRENT: Final = _LAST.format(which="id = :id")
_ALL: Final = _LAST.format(which="kind = :kind")
_ADMITTED: Final = """
SELECT DISTINCT id, CAST(content AS jsonb) ->> 'sector' AS sector FROM publication
WHERE kind = 'agency' AND id = ANY(CAST(:ids AS text[]))
"""
_HOLD: Final = """
INSERT INTO key_holder (key, holder) SELECT key, :holder FROM unnest(CAST(:keys AS text[])) AS key
ON CONFLICT (key) DO NOTHING
"""
_HELD: Final = """
SELECT 1 FROM key_holder WHERE key = ANY(CAST(:keys AS text[])) AND holder <> :holder
"""
_ANSWERED: Final = f"""
SELECT 1 FROM ({_ALL}) AS last
WHERE id <> :but AND CAST(content AS jsonb) @> CAST(CAST(:content AS text) AS jsonb) LIMIT 1
"""  # noqa: S608  made of our own words alone
_ADD: Final = """
INSERT INTO publication (kind, id, version, hash, content, published_at)
VALUES (:kind, :id, :version, :hash, CAST(CAST(:content AS text) AS jsonb), :published_at)
"""

_READ: Final[Mapping[Kind, type[GovernanceBody]]] = {
    "agency": AgencyCurrent,
    "service": ServiceCurrent,
    "protocol": ProtocolCurrent,
}


class PublicationStore(Publications):
    """What was published; nothing is kept without the event that tells of it."""

    def __init__(self, transaction: Transaction, outbox: Outbox) -> None:
        self._transaction = transaction
        self._outbox = outbox

    async def current(self, name: str) -> Publication | None:
        await self._transaction.run(_LOCK, id=name)
        for row in await self._transaction.rows(_CURRENT, id=name):
            return _publication(row)
        return None

    async def all(self, kind: Kind) -> Sequence[Publication]:
        return [_publication(row) for row in await self._transaction.rows(_ALL, kind=kind)]

    async def admitted(self, ids: Collection[str]) -> Mapping[str, str]:
        return {row.id: row.sector for row in await self._transaction.rows(_ADMITTED, ids=list(ids))}

    async def hold(self, holder: str, keys: Collection[str]) -> bool:
        sorted_keys = sorted(keys)  # in one order, so that two admissions wait for each other at most once
        await self._transaction.run(_HOLD, holder=holder, keys=sorted_keys)
        return not await self._transaction.rows(_HELD, holder=holder, keys=sorted_keys)

    async def is_answered(self, organization: str, *, but: str) -> bool:
        await self._transaction.run(_LOCK, id=organization)
        content = to_json({"organization": organization, "status": "active"}).decode()
        return bool(await self._transaction.rows(_ANSWERED, kind="agency", but=but, content=content))

    async def publish(self, publication: Publication) -> None:
        content, at = publication.content, publication.published_at
        columns = {name: getattr(publication, name) for name in ("kind", "id", "version", "hash")}
        await self._transaction.run(_ADD, **columns, content=content.model_dump_json(), published_at=at)
        await self._outbox.add(self._transaction, [OutboxEvent(GOVERNANCE_STATE, content, at)])


def _publication(row: Row) -> Publication:
    content = _READ[row.kind].model_validate_json(row.content)
    return Publication(row.kind, row.id, row.version, row.hash, content, row.published_at)
