"""How long rows are kept, of every table, and what rests on it: data in `ages.toml`, beside the migrations.

Those make a function of it, `prune`, the only way by which a service can take old rows away: a role that got
into wrong hands deletes nothing that is younger.
"""

import hashlib
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.runtime.database import Database
from services.runtime.logs import log

SWEEP_SECONDS: Final = 600.0
ROWS_AT_ONCE: Final = 5_000
"""How many rows one transaction takes away."""
STEADY_SECONDS: Final = 3_600.0
"""Before anything is taken away the database's clock must have gone like this process's for so long."""
CLOCKS_APART_MAX: Final = 60.0
LOCK_CLASS: Final = 7_010
"""The advisory lock of the one process of a service that takes old rows away."""
DAYS_AHEAD: Final = 3


@dataclass(frozen=True, slots=True)
class Age:
    """What becomes old in one table, and when; rows are deleted, or dropped by the day of their partition."""

    table: str
    days: int | None
    """None where rows are kept for good, or end by themselves."""
    promise: str
    """What rests on it."""
    column: str = ""
    """The time from which the age counts; a row that has none does not age."""
    stays: str = "false"
    """The rows, as `o`, that stay however old they are."""
    by_day: bool = False


def read_ages(text: str) -> Iterator[Age]:
    """The tables of one file: those that are kept for good, by the reason, and those whose rows age."""
    found = tomllib.loads(text)
    for promise, tables in found.pop("for_good").items():
        yield from (Age(table, None, promise) for table in tables)
    yield from (Age(table, **fields) for table, fields in found.items())


class Retention:
    """Takes old rows away, a bounded number at a time; several processes may, one of them does."""

    def __init__(
        self,
        database: Database,
        ages: Iterable[Age],
        monotonic: Callable[[], float] = time.monotonic,
        steady_for: float = STEADY_SECONDS,
    ) -> None:
        """A clock that was set must not make everything old at once, so it is compared with `monotonic`."""
        self._database = database
        self._tables = [age.table for age in ages if age.days is not None]
        self._seconds = monotonic
        self._steady_for = steady_for
        self._begun: tuple[datetime, float] | None = None

    async def sweep(self) -> bool:
        """One round over all tables; says whether there is more. The first only looks at the clocks."""
        is_first = self._begun is None
        rows_max = ROWS_AT_ONCE if await self._is_steady() else 0
        is_full = False
        for table in () if is_first else self._tables:
            async with self._database.transaction() as transaction:
                [row] = await transaction.rows(_PRUNE, the_table=table, rows_max=rows_max)
            if row.gone:
                log().info("rows_aged", group=table, count=row.gone)
            is_full = is_full or row.gone >= ROWS_AT_ONCE
        return is_full

    async def _is_steady(self) -> bool:
        async with self._database.transaction() as transaction:
            [row] = await transaction.rows(_NOW)
        now, seconds = row.at, self._seconds()
        began, since = self._begun or (now, seconds)
        passed = seconds - since
        if abs((now - began).total_seconds() - passed) > CLOCKS_APART_MAX:
            log().warning("clock_was_set")
            since, began, passed = seconds, now, 0.0
        self._begun = began, since
        return passed >= self._steady_for


_NOW: Final = "SELECT clock_timestamp() AS at"
_PRUNE: Final = "SELECT prune(:the_table, :rows_max) AS gone"


def prune_function(service: str, ages: Iterable[Age]) -> Iterator[str]:
    """The statements that make `prune` of the table, as the owner; the last is its mark."""
    text = _FUNCTION.format(
        cases="\n".join(_by_day(age) if age.by_day else _by_row(age) for age in ages if age.days),
        lock=LOCK_CLASS,
    )
    yield text
    yield "REVOKE ALL ON FUNCTION prune FROM PUBLIC"
    yield f'GRANT EXECUTE ON FUNCTION prune TO "{service}"'
    yield f"COMMENT ON FUNCTION prune IS '{mark_of(ages)}'"


def mark_of(ages: Iterable[Age]) -> str:
    """By which a database says that its `prune` is of this table."""
    return hashlib.sha256(repr((_FUNCTION, _BY_ROW, _BY_DAY, *ages)).encode()).hexdigest()[:16]


def _by_row(age: Age) -> str:
    return _BY_ROW.format(table=age.table, column=age.column, days=age.days, stays=age.stays, rest=age.table)


def _by_day(age: Age) -> str:
    rows = _BY_ROW.format(
        table=age.table, column=age.column, days=age.days, stays=age.stays, rest=f"{age.table}_default"
    )
    return rows + _BY_DAY.format(
        table=age.table, column=age.column, days=age.days, stays=age.stays, ahead=DAYS_AHEAD
    )


_FUNCTION: Final = """
CREATE OR REPLACE FUNCTION prune(the_table text, rows_max int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
  gone bigint := 0;
  first date := (now() AT TIME ZONE 'UTC')::date;
  day date;
  begins timestamptz;
  ends timestamptz;
BEGIN
  IF NOT pg_try_advisory_xact_lock({lock}, hashtext(the_table)) THEN
    RETURN 0;
  END IF;
  CASE the_table
{cases}
  END CASE;
  RETURN gone;
EXCEPTION WHEN lock_not_available THEN
  RETURN 0; -- others are at work there: the next sweep comes in time
END
$$"""
_BY_ROW: Final = """
  WHEN '{table}' THEN
    DELETE FROM {rest} WHERE ctid = ANY (ARRAY(
      SELECT o.ctid FROM {rest} o
      WHERE o.{column} < now() - interval '{days} days' AND NOT ({stays}) LIMIT rows_max));
    GET DIAGNOSTICS gone = ROW_COUNT;"""
_BY_DAY: Final = """
    -- Made ahead, while no row can be of that day yet. What is needed on of an old day begins a new life.
    FOR day IN SELECT first + n FROM generate_series(0, {ahead}) n LOOP
      begins := day::timestamp AT TIME ZONE 'UTC';
      ends := (day + 1)::timestamp AT TIME ZONE 'UTC';
      IF to_regclass('{table}_' || to_char(day, 'YYYYMMDD')) IS NULL AND NOT EXISTS (
        SELECT FROM {table}_default o WHERE o.{column} >= begins AND o.{column} < ends)
      THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF {table} FOR VALUES FROM (%L) TO (%L)',
          '{table}_' || to_char(day, 'YYYYMMDD'), begins, ends);
      END IF;
    END LOOP;
    FOR day IN
      SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = '{table}'::regclass AND c.relname ~ '^{table}_[0-9]{{8}}$' AND rows_max > 0
        AND to_date(right(c.relname, 8), 'YYYYMMDD') < first - {days}
    LOOP
      begins := day::timestamp AT TIME ZONE 'UTC';
      ends := (day + 1)::timestamp AT TIME ZONE 'UTC';
      UPDATE {table} o SET {column} = clock_timestamp()
      WHERE o.{column} >= begins AND o.{column} < ends AND {stays};
      EXECUTE format('DROP TABLE %I', '{table}_' || to_char(day, 'YYYYMMDD'));
      gone := gone + 1;
    END LOOP;"""
