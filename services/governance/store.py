"""What was published, and what the partners did, in PostgreSQL; the only SQL of governance."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json

from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.governance_keys import GovernanceBody
from schemas.topics import GOVERNANCE_STATE
from schemas.wire.body import Body
from schemas.wire.topic import Topic
from services.governance.domain.figures import Indicator, read_indicator
from services.governance.domain.life_cycle import ActOutcome, GovernanceRecord, GovernanceRegister, PartnerAct
from services.governance.domain.publications import Kind, Publication
from services.governance.domain.tables import CYCLES
from services.governance.handlers import ActRepeat, Acts, Publications
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

_ONE_ACT_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended('governance acts', 0))"
_CHANGED: Final = """
SELECT kind, id, state, version, CAST(content AS text) AS content, made_by, changed FROM record
WHERE changed > :seen ORDER BY changed
"""
_DUE: Final = """
SELECT kind, id FROM record WHERE due <= :at ORDER BY due, kind, id LIMIT :most OFFSET :but
"""
_REPEATED: Final = """
SELECT number = (SELECT max(number) FROM act WHERE kind = :kind AND id = :id) AS is_last,
  number = (SELECT max(number) FROM act WHERE kind = :kind AND id = :id AND partner = :partner) AS is_own
FROM act WHERE kind = :kind AND id = :id AND partner = :partner AND name = :name AND role = :role
  AND body = CAST(CAST(:body AS text) AS jsonb)
ORDER BY number DESC LIMIT 1
"""
_HISTORY: Final = """
SELECT number, name AS act, role, partner, constituency, at, state, facts FROM act
WHERE kind = :kind AND id = :id AND number > :after ORDER BY number LIMIT :limit
"""
_ADD_ACT: Final = """
INSERT INTO act (number, kind, id, name, role, partner, constituency, staff, at, body, state, facts)
VALUES (:number, :kind, :id, :name, :role, :partner, :constituency, :staff, :at,
  CAST(CAST(:body AS text) AS jsonb), :state, :facts)
"""
_PUT_RECORD: Final = """
INSERT INTO record (kind, id, state, version, content, made_by, due, changed)
VALUES (:kind, :id, :state, :version, CAST(CAST(:content AS text) AS jsonb), :made_by, :due, :number)
ON CONFLICT (kind, id) DO UPDATE SET state = excluded.state, version = excluded.version,
  content = excluded.content, due = excluded.due, changed = excluded.changed
"""

_READ: Final[Mapping[Kind, type[GovernanceBody]]] = {
    "agency": AgencyCurrent,
    "service": ServiceCurrent,
    "protocol": ProtocolCurrent,
}


def _read_indicators(folder: Path) -> Mapping[str, Indicator]:
    common = (folder / "referrals.common.sql").read_text("utf-8")
    files = sorted(folder.glob("[0-9]*.sql"))
    return {one.id: one for one in (read_indicator(file.read_text("utf-8"), common) for file in files)}


INDICATORS: Final = _read_indicators(Path(__file__).parent / "indicators")
"""Every indicator by its id, from the folder: one more is one more file."""


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


class ActStore(Acts):
    """Every act, insert only, and beside it how each record stands since."""

    def __init__(self, transaction: Transaction, outbox: Outbox, register: GovernanceRegister) -> None:
        self._transaction = transaction
        self._outbox = outbox
        self._register = register

    async def lock(self) -> GovernanceRegister:
        await self._transaction.run(_ONE_ACT_AT_A_TIME)
        return await self.register()

    async def register(self) -> GovernanceRegister:
        for row in await self._transaction.rows(_CHANGED, seen=self._register.seen):
            content = CYCLES[row.kind].content.model_validate_json(row.content)
            self._register.put(GovernanceRecord(row.id, row.state, content, row.version, row.made_by))
            self._register.seen = max(self._register.seen, row.changed)
        return self._register

    async def due(self, at: datetime, most: int, but: int) -> Sequence[tuple[str, str]]:
        return [(row.kind, row.id) for row in await self._transaction.rows(_DUE, at=at, most=most, but=but)]

    async def repeated(self, act: PartnerAct) -> ActRepeat | None:
        for row in await self._transaction.rows(_REPEATED, **_named(act)):
            return ActRepeat(*row)
        return None

    async def history(self, kind: str, name: str, after: int, limit: int) -> Sequence[Mapping[str, Any]]:
        found = await self._transaction.rows(_HISTORY, kind=kind, id=name, after=after, limit=limit)
        return [dict(row) for row in found]

    async def keep(self, number: int, outcome: ActOutcome, constituency: str) -> None:
        act, record = outcome.act, outcome.record
        facts = [fact.type for fact in outcome.facts]
        row = {
            "number": number,
            "state": record.state,
            "constituency": constituency,
            "staff": act.actor.staff,
        }
        await self._transaction.run(_ADD_ACT, **_named(act), **row, at=act.at, facts=facts)
        await self._transaction.run(
            _PUT_RECORD,
            kind=act.kind,
            id=act.id,
            state=record.state,
            version=record.version,
            content=record.content.model_dump_json(),
            made_by=record.made_by,
            due=outcome.due,
            number=number,
        )

    async def tell(self, topic: Topic, bodies: Sequence[Body], at: datetime) -> None:
        await self._outbox.add(self._transaction, [OutboxEvent(topic, body, at) for body in bodies])


def _named(act: PartnerAct) -> dict[str, Any]:
    names = {"kind": act.kind, "id": act.id, "name": act.name, "role": act.actor.role}
    return names | {"partner": act.actor.partner, "body": act.body.model_dump_json()}


def _publication(row: Row) -> Publication:
    content = _READ[row.kind].model_validate_json(row.content)
    return Publication(row.kind, row.id, row.version, row.hash, content, row.published_at)
