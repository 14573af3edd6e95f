"""Every role tries every act on every table, on the database: what is not listed here must fail."""

from collections.abc import Mapping

import asyncpg
import pytest

from deploy.local.databases import DATABASES, ServiceDatabase
from schemas.topics import SECTORS, SERVICES
from tests.support.platform import Space

ACTS = {
    "S": "SELECT {column} FROM {table} LIMIT 0",
    "I": "INSERT INTO {table} ({column}) SELECT {value} WHERE false",
    "U": "UPDATE {table} SET {column} = {value} WHERE false",
    "D": "DELETE FROM {table} WHERE false",
}
"""Act → a statement that the database checks for its right and that touches no row."""

DURABLE = {
    "outbox": "SID", "inbox": "SI", "outbox_sent": "SI", "outbox_sent_default": "", "sequence_out": "SIU",
    "sequence_in": "SIU", "consumer_offset": "SIU", "dead_letter": "SIU", "partition_alarm": "SIU",
    "receipt_look": "SU", "unconfirmed": "SIUD", "log_end": "SI", "operator_act": "SIu",
    "log_ack": "SIUD", "refilled": "SIU", "alembic_version": "S",
    "writer": "SU", "epoch_heard": "SIU",
}  # fmt: skip
SECTOR = DURABLE | {
    "case_file": "SIU", "consent_version": "SI", "consent_withdrawal": "SI", "referral_view": "SIU",
    "feed_end": "SIU", "feed_event": "SI", "agency": "SIU", "protocol": "SI", "directory_entry": "SIU",
    "service_key": "SIU", "permit_used": "SI", "trail_outbox": "SIuD", "denial": "SIuD", "idempotency": "SIU",
    "packet": "SI", "packet_group": "SI", "data_key": "SIu", "intake_key": "SIU", "key_record": "SIu",
    "release_made": "SI", "closure": "SIu",
}  # fmt: skip
RIGHTS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(SECTORS, SECTOR),
    "referrals": DURABLE
    | {"referral": "SIU", "addressed": "SIU", "agency": "SIU", "protocol": "SI", "directory_entry": "SIU"}
    | {"unmet_need": "SI"},
    "notifications": DURABLE
    | {"agency": "SIU", "desk": "SIU", "notice": "SIU", "message_key": "S", "probe_sight": "SIU"},
    "governance": DURABLE
    | {"publication": "SI", "key_holder": "SI", "act": "SI", "record": "SIU"}
    | {"referral_fact": "SI", "governance_fact": "SI", "figure": "SID"},
    "operations": DURABLE
    | {"log_sample": "SI", "stream_sample": "SI", "service_answer": "SIU", "operator_grant": "SIUD"}
    | {"console_session": "SIuD", "console_form": "SIuD"}
    | {"plan": "SIu", "probe_pair": "SIU", "probe_round": "SI"},
    "audit": {
        "log_state": "S", "entry": "S", "tile": "S", "checkpoint": "S", "subject": "Si", "data_key": "SI",
        "alembic_version": "S",
    },
    "audit_sign": {
        "log_state": "S", "entry": "", "tile": "S", "checkpoint": "SI", "subject": "", "data_key": "",
        "alembic_version": "S",
    },
}  # fmt: skip
"""Role → table → what it may do: select, insert, update, delete; in lower case, on some columns only."""
COLUMNS: Mapping[tuple[str, str], set[str]] = {
    ("trail_outbox", "u"): {"refused"},
    ("operator_act", "u"): {"told_at"},
    ("console_session", "u"): {"seen_at"},
    ("console_form", "u"): {"answer"},
    ("plan", "u"): {
        "state",
        "reason",
        "confirmed_by",
        "approved_by",
        "started_at",
        "next_at",
        "wish",
        "done",
        "outcome",
        "failure",
        "ended_at",
        "receipt",
    },
    ("denial", "u"): {"times", "until"},
    ("closure", "u"): {"task", "done_at"},
    ("data_key", "u"): {"epoch", "wrap", "is_adopted"},
    ("key_record", "u"): {"is_revoked"},
    ("subject", "i"): {"id", "owner", "retention", "wrapped"},
}
"""Table and act → the columns that a right in lower case is for."""
EXECUTES: Mapping[str, set[str]] = {
    **{service: {"prune", "send_again"} for service in SERVICES},
    **{sector: {"erase_case", "prune", "send_again"} for sector in SECTORS},
    "audit": {"take_lead", "append_entries", "erase_subject", "prune"},
}
"""Role → the functions that it may call; every other role none."""

HELD = """
SELECT c.relname AS table_name, p.letter, has_table_privilege(:role, c.oid, p.name) AS is_whole,
  ARRAY(SELECT a.attname FROM pg_attribute a
        WHERE p.is_of_columns AND a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND has_column_privilege(:role, c.oid, a.attnum, p.name)) AS columns
FROM pg_class c CROSS JOIN (VALUES
  (1, 'S', 'SELECT', true), (2, 'I', 'INSERT', true), (3, 'U', 'UPDATE', true), (4, 'D', 'DELETE', false),
  (5, 'T', 'TRUNCATE', false), (6, 'R', 'REFERENCES', true), (7, 'G', 'TRIGGER', false)
) AS p(place, letter, name, is_of_columns)
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
ORDER BY c.relname, p.place"""
CALLABLE = """
SELECT proname FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(:role, oid, 'EXECUTE')"""


async def connect(space: Space, database: ServiceDatabase, role: str) -> asyncpg.Connection:
    url = space.database_settings(database.service, role).url.replace("+asyncpg", "")
    return await asyncpg.connect(url, password=space.platform.secrets.password("database", role))


async def columns_of(space: Space, service: str) -> Mapping[str, tuple[str, str]]:
    """Each table's first column that a statement may name, with a value of its type."""
    async with space.transaction(service, as_admin=True) as transaction:
        rows = await transaction.rows(
            """SELECT DISTINCT ON (c.relname) c.relname AS table_name, a.attname AS column_name,
                      format_type(a.atttypid, a.atttypmod) AS type_name
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
                 AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity <> 'a'
               ORDER BY c.relname, a.attnum"""
        )
    return {row.table_name: (row.column_name, f"CAST(NULL AS {row.type_name})") for row in rows}


@pytest.mark.parametrize("service", SERVICES)
async def test_each_role_may_do_what_is_listed_and_nothing_else(space: Space, service: str) -> None:
    columns = await columns_of(space, service)
    for role in DATABASES[service].logins:
        assert columns.keys() == RIGHTS[role].keys()
        connection = await connect(space, DATABASES[service], role)
        for table, (column, value) in columns.items():
            allowed = ""
            for act, statement in ACTS.items():
                try:
                    await connection.execute(statement.format(table=table, column=f'"{column}"', value=value))
                    allowed += act
                except asyncpg.InsufficientPrivilegeError:
                    continue
            assert allowed == allowed_on(column, role, table), (role, table)
        await connection.close()


def allowed_on(column: str, role: str, table: str) -> str:
    """What the list says of one column."""
    return "".join(
        act.upper() for act in RIGHTS[role][table] if act.isupper() or column in COLUMNS[table, act]
    )


@pytest.mark.parametrize("service", SERVICES)
async def test_no_column_and_no_function_is_open_beyond_the_list(space: Space, service: str) -> None:
    database = space.database_as_admin(service)
    for role in DATABASES[service].logins:
        held = dict.fromkeys(RIGHTS[role], "")
        async with database.transaction() as transaction:
            for row in await transaction.rows(HELD, role=role):
                if row.is_whole:
                    held[row.table_name] += row.letter
                elif row.columns:
                    part = row.letter.lower()
                    held[row.table_name] += part
                    assert set(row.columns) == COLUMNS.get((row.table_name, part)), (role, row.table_name)
            functions = {row.proname for row in await transaction.rows(CALLABLE, role=role)}

        assert held == RIGHTS[role]
        assert functions == EXECUTES.get(role, set())
    await database.close()


async def test_no_role_enters_another_services_database(space: Space) -> None:
    for database in DATABASES.values():
        for other in DATABASES.values():
            for role in other.logins:
                if role in database.logins:
                    continue
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connect(space, database, role)


async def test_no_role_that_logs_in_owns_anything_or_stands_above_rights(space: Space) -> None:
    roles = sorted(role for database in DATABASES.values() for role in database.logins)
    for service in SERVICES:
        async with space.transaction(service, as_admin=True) as transaction:
            owned = await transaction.rows(
                """SELECT c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
                   WHERE r.rolname = ANY(CAST(:roles AS text[]))""",
                roles=roles,
            )
            mighty = await transaction.rows(
                """SELECT rolname FROM pg_roles WHERE rolname = ANY(CAST(:roles AS text[]))
                   AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)""",
                roles=roles,
            )

        assert not owned
        assert not mighty
