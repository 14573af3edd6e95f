"""Which failures pass by themselves: the same batch comes again after those, and only those."""

import asyncpg
import pytest

from services.runtime.database import is_temporary


def an_answer(sqlstate: str | None) -> Exception:
    error: Exception = asyncpg.PostgresError("x")
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error


PASSING = ("08000", "08006", "53100", "53300", "57014", "57P01", "57P03", "58030", "40001", "40P01", None)
STAYING = ("23505", "23503", "22P02", "42501", "42P01", "40002", "25006", "P0001")


@pytest.mark.parametrize(
    "error",
    [
        *map(an_answer, PASSING),
        asyncpg.SerializationError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        ConnectionRefusedError("no server"),
        TimeoutError("no answer"),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'sqlstate', '')}",
)
def test_a_database_that_is_away_is_tried_again(error: Exception) -> None:
    assert is_temporary(error)


@pytest.mark.parametrize(
    "error",
    [
        *map(an_answer, STAYING),
        asyncpg.UniqueViolationError("x"),
        asyncpg.InvalidTextRepresentationError("x"),
        asyncpg.InsufficientPrivilegeError("x"),
        asyncpg.exceptions._base.DataError("x"),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'sqlstate', '')}",
)
def test_an_answer_that_will_not_change_is_not(error: Exception) -> None:
    assert not is_temporary(error)
