"""Which failures pass by themselves: the same batch comes again after those, and only those."""

import asyncpg
import pytest
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.runtime.database import Database, is_temporary, raise_unavailable
from services.runtime.errors import Unavailable
from services.runtime.settings import DatabaseSettings


@pytest.mark.parametrize(
    "sqlstate", ["08000", "08006", "53100", "53300", "57014", "57P01", "57P03", "40001", "40P01", None]
)
def test_these_failures_pass(sqlstate: str | None) -> None:
    assert is_temporary(sqlstate)


@pytest.mark.parametrize("sqlstate", ["23505", "23503", "22P02", "42501", "42P01", "40002", "25006", "P0001"])
def test_these_failures_stay(sqlstate: str) -> None:
    assert not is_temporary(sqlstate)


def a_failure(kind: type[DBAPIError], cause: BaseException, *, is_cut: bool = False) -> DBAPIError:
    return kind("SELECT 1", {}, cause, connection_invalidated=is_cut)


TEMPORARY = (
    a_failure(DBAPIError, asyncpg.SerializationError("x")),
    a_failure(DBAPIError, asyncpg.DeadlockDetectedError("x")),
    a_failure(DBAPIError, asyncpg.AdminShutdownError("x")),
    a_failure(DBAPIError, asyncpg.TooManyConnectionsError("x")),
    a_failure(OperationalError, asyncpg.PostgresError("x")),
    a_failure(InterfaceError, asyncpg.InterfaceError("x")),
    a_failure(ProgrammingError, asyncpg.UndefinedTableError("x"), is_cut=True),
    PoolTimeout("no connection"),
    ConnectionRefusedError("no server"),
    TimeoutError("no answer"),
)


@pytest.mark.parametrize("error", TEMPORARY, ids=lambda error: type(error).__name__)
def test_a_database_that_is_away_is_unavailable(error: Exception) -> None:
    with pytest.raises(Unavailable):
        raise_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        a_failure(IntegrityError, asyncpg.UniqueViolationError("x")),
        a_failure(DataError, asyncpg.InvalidTextRepresentationError("x")),
        a_failure(ProgrammingError, asyncpg.InsufficientPrivilegeError("x")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_that_will_not_change_is_not_tried_again(error: Exception) -> None:
    raise_unavailable(error)


async def test_what_a_statement_was_given_shows_in_no_error() -> None:
    database = Database.connect(
        DatabaseSettings(url="postgresql+asyncpg://x@127.0.0.1/x"), application="tests"
    )

    assert database.engine.sync_engine.hide_parameters
