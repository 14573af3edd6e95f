"""Of every table it is said how long its rows stay: the oldest go, the younger stay, and so do promises."""

from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest

from schemas.events.referral import AcknowledgeReferral
from schemas.topics import SERVICES, STEPS
from services.runtime import ages, inbox
from services.runtime.ages import Age, Retention
from services.runtime.inbox import Turn
from services.runtime.schema import ages_of
from tests.support.builders import an_event
from tests.support.platform import Space
from tests.support.sector import StoredSector

AGEING: Final = {
    age.table: (service, age)
    for service in ("health", "notifications", "audit")
    for age in ages_of(service)
    if age.days is not None
}
FEED: Final = """
INSERT INTO feed_end VALUES ('aged', 5) ON CONFLICT (agency) DO UPDATE SET position = 5;
INSERT INTO feed_event (agency, position, type, referral, number, at)
SELECT 'aged', n, 't', 'r', 1, now() - interval '50 days' FROM generate_series(4, 5) n"""
STAYS: Final = {
    "dead_letter": "UPDATE dead_letter SET state = 'waiting' WHERE last_at < now() - interval '50 days'",
    "notice": "UPDATE notice SET state = 'sending' WHERE written_at < now() - interval '50 days'",
    "partition_alarm": "UPDATE partition_alarm SET ended_at = NULL WHERE grp <> 'aged-3'",
    "log_end": "DELETE FROM log_end WHERE at > now() - interval '1 day'",
    "feed_event": f"DELETE FROM feed_event; {FEED}",
    "checkpoint": "DELETE FROM checkpoint WHERE extract(minute FROM signed_at AT TIME ZONE 'UTC') = 1",
}
"""Table → how its oldest row becomes one that stays however old it is."""
SPECIAL: Final = {
    "checkpoint": {"log": "'aged'", "root": "sha256('r')"},
    "dead_letter": {"state": "'redriven'"},
    "feed_event": {"agency": "'aged'"},
    "log_end": {"topic": "'aged'", "part": "1"},
    "notice": {"desk": "'aged'", "agency": "'aged'", "state": "'sent'"},
}
VALUES: Final = {
    "bigint": "100 + {n}", "integer": "100 + {n}", "smallint": "{n}", "bytea": "'\\x0{n}'", "jsonb": "'[]'",
    "uuid": "CAST('00000000-0000-0000-0000-000000000001' AS uuid)", "text": "'aged-{n}'", "boolean": "true",
    "timestamp with time zone": "now()",
}  # fmt: skip


async def execute(space: Space, service: str, script: str) -> None:
    async with space.transaction(service, as_admin=True) as transaction:
        await transaction.run("SET LOCAL session_replication_role = replica")  # without foreign keys
        for statement in script.split(";"):
            await transaction.run(statement)


async def write_rows(space: Space, service: str, age: Age) -> None:
    """Two that are too old, on one day, and one that is not yet."""
    async with space.transaction(service, as_admin=True) as transaction:
        columns = await transaction.rows(
            """SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
               WHERE attrelid = to_regclass(:of) AND attnum > 0 AND NOT attisdropped AND attname <> :aged
                 AND (attnotnull AND NOT atthasdef OR attname = 'state' AND :of <> 'feed_event')""",
            of=age.table,
            aged=age.column,
        )
    names = [row.name for row in columns] + [age.column]
    day = f"date_trunc('day', now() - interval '{age.days} days', 'UTC') - interval '9 days'"
    times = [f"{day} + interval '{n} minutes'" for n in (1, 2)]
    times.append(f"now() - interval '{age.days} days' + interval '1 hour'")
    for n, time in enumerate(times, 1):
        values = [
            SPECIAL.get(age.table, {}).get(row.name) or VALUES[row.type].format(n=n) for row in columns
        ] + [time]
        listed = ", ".join(f'"{name}"' for name in names)
        await execute(space, service, f"INSERT INTO {age.table} ({listed}) VALUES ({', '.join(values)})")


async def left(space: Space, service: str, age: Age) -> list[bool]:
    """Whether each row that is left is too old, the oldest first."""
    async with space.transaction(service, as_admin=True) as transaction:
        rows = await transaction.rows(
            f"""SELECT coalesce({age.column} < now() - interval '{age.days} days', true) AS is_old
                FROM {age.table} ORDER BY {age.column} NULLS FIRST"""
        )
    return [row.is_old for row in rows]


async def sweep(space: Space, service: str, seconds: tuple[float, float] = (0.0, 55.0)) -> None:
    """Twice, at these times of the process: what is due goes once the clock was steady for 50 seconds."""
    database = space.database(service)
    retention = Retention(database, ages_of(service), partial(next, iter(seconds)), steady_for=50.0)
    for _ in seconds:
        await retention.sweep()
    await database.close()


@pytest.mark.parametrize("table", AGEING)
async def test_the_oldest_rows_go_and_the_younger_stay(space: Space, table: str) -> None:
    service, age = AGEING[table]
    await execute(space, service, f"TRUNCATE {table} CASCADE")
    if table == "feed_event":
        await execute(space, service, "INSERT INTO feed_end VALUES ('aged', 9) ON CONFLICT DO NOTHING")
    await write_rows(space, service, age)

    await sweep(space, service)

    found = await left(space, service, age)
    assert found[-1] is False
    assert found.count(True) == (1 if table == "checkpoint" else 0)  # of a day the last signature


@pytest.mark.parametrize("table", STAYS)
async def test_what_is_still_needed_stays_however_old_it_is(space: Space, table: str) -> None:
    service, age = AGEING[table]
    await execute(space, service, f"TRUNCATE {table} CASCADE")
    await write_rows(space, service, age)
    await execute(space, service, STAYS[table])

    await sweep(space, service)

    assert True in await left(space, service, age)


SENT: Final = """
DROP TABLE IF EXISTS outbox_sent_20200102;
CREATE TABLE outbox_sent_20200102 PARTITION OF outbox_sent
  FOR VALUES FROM ('2020-01-02 00:00+00') TO ('2020-01-03 00:00+00');
INSERT INTO sequence_out (topic, key, last, confirmed) VALUES
  ('concert.directory.state.v1', 'k', 3, 0), ('concert.sector.health.steps.v1', 'k', 3, 2),
  ('concert.sector.health.steps.v1', 'rcp_health', 3, 0), ('concert.referrals.facts.v1', 'k', 3, 0);
INSERT INTO outbox_sent (id, shard, topic, key, sequence, value, created_at, sent_at)
SELECT row_number() OVER (ORDER BY topic, key, n), 0, topic, key, n, 'v', now(), '2020-01-02 12:00+00'
FROM sequence_out, generate_series(1, 3) n WHERE sequence_out.last = 3"""


@pytest.mark.parametrize("partition", ["outbox_sent_20200102", "outbox_sent_default"])
async def test_a_day_of_what_was_sent_goes_but_for_newest_states_and_what_nobody_confirmed(
    space: Space, partition: str
) -> None:
    await execute(space, "health", f"TRUNCATE outbox_sent, sequence_out; {SENT}")
    if partition.endswith("default"):
        detached = "ALTER TABLE outbox_sent DETACH PARTITION outbox_sent_20200102"
        moved = "INSERT INTO outbox_sent SELECT * FROM outbox_sent_20200102; DROP TABLE outbox_sent_20200102"
        await execute(space, "health", f"{detached}; {moved}")

    await sweep(space, "health")

    async with space.transaction("health", as_admin=True) as transaction:
        rows = await transaction.rows("SELECT topic, sequence FROM outbox_sent ORDER BY topic")
        parts = await transaction.rows(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
            " WHERE inhparent = to_regclass('outbox_sent')"
        )
    assert [tuple(row) for row in rows] == [
        ("concert.directory.state.v1", 3),
        ("concert.sector.health.steps.v1", 3),
    ]
    names = {row.name for row in parts}
    assert "outbox_sent_20200102" not in names
    assert len(names) == 1 + 1 + ages.DAYS_AHEAD, "the default, today and the days ahead"


async def test_a_copy_that_is_older_than_the_inbox_is_no_news(space: Space) -> None:
    body = AcknowledgeReferral(referral="ref_" + "q" * 26, agency="north-clinic", duty="intake")
    event = an_event(STEPS["health"], body, 1)
    turns = []
    for now in (event.at, event.at + timedelta(days=46)):
        async with space.transaction("referrals") as transaction:
            [turn], _ = await inbox.take(transaction, [event], (), now)
        turns.append(turn)
        await execute(space, "referrals", "UPDATE inbox SET received_at = received_at - interval '46 days'")
        await sweep(space, "referrals")
        async with space.transaction("referrals") as transaction:
            assert not await transaction.rows("SELECT 1 FROM inbox")

    assert turns == [Turn.NEXT, Turn.REPEATED]


async def test_a_place_in_a_feed_that_grew_too_old_is_refused_and_the_end_never_is(
    sector: StoredSector,
) -> None:
    for statement in FEED.replace("'aged'", "'late'").split(";"):
        await sector.rows(statement)

    async def positions(after: int) -> Any:
        told = await sector.work.views.feed("late", after, 10)
        return None if told is None else [event.position for event in told]

    assert [await positions(after) for after in (0, 2, 4, 5)] == [[4, 5], None, [5], []]


@pytest.mark.parametrize("seconds", [(0.0, 45.0), (0.0, 400 * 86_400.0)], ids=["just begun", "clock set"])
async def test_nothing_goes_by_a_clock_that_is_not_known_to_be_right(
    space: Space, seconds: tuple[float, float]
) -> None:
    service, age = AGEING["inbox"]
    await execute(space, service, "TRUNCATE inbox")
    await write_rows(space, service, age)

    await sweep(space, service, seconds)

    assert await left(space, service, age) == [True, True, False]


@pytest.mark.parametrize("service", SERVICES)
async def test_no_table_is_without_an_age_or_a_reason(space: Space, service: str) -> None:
    async with space.transaction(service, as_admin=True) as transaction:
        rows = await transaction.rows(
            """SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition
               AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"""
        )
    assert {row.relname for row in rows} == {age.table for age in ages_of(service)}
