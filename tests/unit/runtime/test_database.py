"""Which failures pass by themselves: the same batch comes again after those, and only those."""

import asyncpg
import pytest

from services.runtime.database import is_temporary, raise_unavailable
from services.runtime.errors import Unavailable


@pytest.mark.parametrize(
    "sqlstate", ["08000", "08006", "53100", "53300", "57014", "57P01", "57P03", "40001", "40P01", None]
)
def test_these_failures_pass(sqlstate: str | None) -> None:
    assert is_temporary(sqlstate)


@pytest.mark.parametrize("sqlstate", ["23505", "23503", "22P02", "42501", "42P01", "40002", "25006", "P0001"])
def test_these_failures_stay(sqlstate: str) -> None:
    assert not is_temporary(sqlstate)


TEMPORARY = (
    asyncpg.SerializationError("x"),
    asyncpg.DeadlockDetectedError("x"),
    asyncpg.AdminShutdownError("x"),
    asyncpg.TooManyConnectionsError("x"),
    asyncpg.ConnectionDoesNotExistError("x"),
    asyncpg.PostgresError("x"),
    asyncpg.InterfaceError("connection is closed"),
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
        asyncpg.UniqueViolationError("x"),
        asyncpg.InvalidTextRepresentationError("x"),
        asyncpg.InsufficientPrivilegeError("x"),
        asyncpg.exceptions._base.DataError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_that_will_not_change_is_not_tried_again(error: Exception) -> None:
    raise_unavailable(error)
