"""What was published, what partners did, what is counted; the only SQL of governance but the indicators."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic_core import to_json

from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.governance_keys import GovernanceBody
from schemas.topics import GOVERNANCE_STATE
from schemas.wire.body import Body
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic
from services.governance.domain.figures import Figure, Indicator, read_indicator, span_of
from services.governance.domain.life_cycle import GovernanceRecord, GovernanceRegister, PartnerAct
from services.governance.domain.publications import Kind, Publication
from services.governance.domain.referral_facts import ReferralFact
from services.governance.domain.tables import CYCLES
from services.governance.handlers import ActRepeat, Acts, NumberedAct, Publications, Statistics
from services.runtime.outbox import Outbox
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Row, Transaction, columns

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

_KEEP_REFERRAL_FACTS: Final = """
INSERT INTO referral_fact
  (event, type, at, referral, code, met, hop, mark, need, access_need, urgency, area, agency)
SELECT * FROM unnest(CAST(:event AS text[]), CAST(:type AS text[]), CAST(:at AS timestamptz[]),
  CAST(:referral AS text[]), CAST(:code AS text[]), CAST(:met AS text[]), CAST(:hop AS int[]),
  CAST(:mark AS text[]), CAST(:need AS text[]), CAST(:access_need AS text[]), CAST(:urgency AS text[]),
  CAST(:area AS text[]), CAST(:agency AS text[]))
ON CONFLICT (event) DO NOTHING
"""
_KEEP_GOVERNANCE_FACTS: Final = """
INSERT INTO governance_fact (event, type, at, key, body)
SELECT event, type, at, key, CAST(body AS jsonb) FROM unnest(
  CAST(:event AS text[]), CAST(:type AS text[]), CAST(:at AS timestamptz[]), CAST(:key AS text[]),
  CAST(:body AS text[])) AS fact (event, type, at, key, body)
ON CONFLICT (event) DO NOTHING
"""
_ONE_COUNT_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended('governance figures', 0))"
_PLAN: Final = """
SELECT set_config('enable_seqscan', :on, true), set_config('enable_hashjoin', :on, true),
  set_config('plan_cache_mode', :plans, true), set_config('work_mem', '64MB', true)
"""
_FORGET: Final = "DELETE FROM figure WHERE indicator = :id"
_COUNTED: Final = """
SELECT CAST(:id AS text) AS indicator, part, month, keys, CAST(count AS bigint) AS count FROM ({sql}) AS cell
"""
_COUNT: Final = f"INSERT INTO figure (indicator, part, month, keys, count) {_COUNTED}"
_FIGURES: Final = """
SELECT indicator, part, month, keys, count FROM figure WHERE indicator = ANY(CAST(:ids AS text[]))
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
EVER: Final = (datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC))
"""All time, as far as every zone's calendar reaches."""


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

    async def keep(self, acts: Sequence[NumberedAct]) -> None:
        rows = [
            {
                **_named(outcome.act),
                "number": number,
                "state": outcome.record.state,
                "constituency": constituency,
                "staff": outcome.act.actor.staff,
                "at": outcome.act.at,
                "facts": [fact.type for fact in outcome.facts],
            }
            for number, outcome, constituency in acts
        ]
        await self._transaction.run_each(_ADD_ACT, rows)
        last = {(one.outcome.act.kind, one.outcome.act.id): one for one in acts}
        records = [
            {
                "kind": kind,
                "id": name,
                "state": outcome.record.state,
                "version": outcome.record.version,
                "content": outcome.record.content.model_dump_json(),
                "made_by": outcome.record.made_by,
                "due": outcome.due,
                "number": number,
            }
            for (kind, name), (number, outcome, _) in last.items()
        ]
        await self._transaction.run_each(_PUT_RECORD, records)

    async def tell(self, topic: Topic, told: Iterable[tuple[Body, datetime]]) -> None:
        await self._outbox.add(self._transaction, [OutboxEvent(topic, body, at) for body, at in told])


class StatisticsStore(Statistics):
    """Kept facts, insert only; each indicator's statement counts them in months of one time zone."""

    def __init__(self, transaction: Transaction, zone: ZoneInfo) -> None:
        self._transaction = transaction
        self._zone = zone

    async def keep(self, facts: Sequence[ReferralFact]) -> None:
        if facts:
            await self._transaction.run(_KEEP_REFERRAL_FACTS, **columns(facts, *ReferralFact._fields))

    async def keep_told(self, facts: Sequence[ReadEvent[Any]]) -> None:
        named = {
            "event": [one.id for one in facts],
            "type": [one.body.type.rpartition(".")[2] for one in facts],
            "body": [one.body.model_dump_json() for one in facts],
        }
        await self._transaction.run(_KEEP_GOVERNANCE_FACTS, **named, **columns(facts, "at", "key"))

    async def figures_of(self, month: str) -> Sequence[Figure]:
        of_persons = [one for one in INDICATORS.values() if one.persons]
        return sorted(map(_figure, await self._run(_COUNTED, of_persons, *span_of(month, self._zone))))

    async def public_figures(self) -> Sequence[Figure]:
        return await self._stored(one.id for one in INDICATORS.values() if not one.persons)

    async def count(self, indicators: Collection[Indicator]) -> None:
        await self._transaction.run(_ONE_COUNT_AT_A_TIME)
        for one in indicators:
            await self._transaction.run(_FORGET, id=one.id)
        await self._run(_COUNT, indicators, *EVER)

    async def figures(self) -> Sequence[Figure]:
        return await self._stored(INDICATORS)

    async def _stored(self, ids: Iterable[str]) -> Sequence[Figure]:
        return sorted(map(_figure, await self._transaction.rows(_FIGURES, ids=list(ids))))

    async def _run(
        self, sql: str, indicators: Iterable[Indicator], since: datetime, until: datetime
    ) -> Sequence[Row]:
        """The rows of each statement; they read whole tables, so the planner may do what it may not else."""
        await self._transaction.run(_PLAN, on="on", plans="force_custom_plan")
        rows: list[Row] = []
        for one in indicators:
            named = {"id": one.id, "zone": self._zone.key, "since": since, "until": until}
            rows += await self._transaction.rows(sql.format(sql=one.sql), **named)
        await self._transaction.run(_PLAN, on="off", plans="force_generic_plan")
        return rows


def _figure(row: Row) -> Figure:
    return Figure(row.indicator, row.part, row.month, tuple(row["keys"]), row["count"])


def _named(act: PartnerAct) -> dict[str, Any]:
    names = {"kind": act.kind, "id": act.id, "name": act.name, "role": act.actor.role}
    return names | {"partner": act.actor.partner, "body": act.body.model_dump_json()}


def _publication(row: Row) -> Publication:
    content = _READ[row.kind].model_validate_json(row.content)
    return Publication(row.kind, row.id, row.version, row.hash, content, row.published_at)
