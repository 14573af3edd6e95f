"""PostgreSQL for a service: one pool, transactions that the runtime alone opens and commits."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, TextClause, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.runtime.errors import Unavailable
from services.runtime.settings import DatabaseSettings, secret_from

if TYPE_CHECKING:
    from services.runtime.outbox import Outbox

POOL_CONNECTIONS: Final = 8
COMMAND_TIMEOUT_SECONDS: Final = 30
AWAY: Final = "the database does not answer; the same again will be tried"
TEMPORARY: Final = ("08", "53", "57", "40001", "40P01")
"""SQLSTATE classes and codes after which the same again may work (stack.md §4.1)."""


def is_temporary(sqlstate: str | None) -> bool:
    """Whether a failure with this SQLSTATE passes by itself; no SQLSTATE means the connection is gone."""
    return sqlstate is None or sqlstate.startswith(TEMPORARY)


class Transaction:
    """One open transaction: SQL text with named parameters, arrays through `unnest`."""

    outbox: "Outbox"
    """Where its events leave; only in a service that writes to Kafka."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.after_commit: list[Callable[[], None]] = []
        """What to call, without waiting, once all is committed."""

    async def rows(self, sql: str, **parameters: Any) -> Sequence[Row[Any]]:
        """Run a statement and give its rows."""
        return (await self.connection.execute(_statement(sql), parameters)).all()

    async def run(self, sql: str, **parameters: Any) -> None:
        """Run a statement whose rows nobody needs."""
        await self.connection.execute(_statement(sql), parameters)


class Database:
    """The pool of one database role; `transaction` is the only door."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.open_outbox: Callable[[Transaction], Outbox] | None = None

    @classmethod
    def connect(
        cls, settings: DatabaseSettings, *, application: str, pool: int = POOL_CONNECTIONS
    ) -> "Database":
        """A pool that opens its first connection when it is first used."""
        url = make_url(settings.url)
        if settings.password_file:
            url = url.set(password=secret_from(settings.password_file).get_secret_value())
        return cls(
            create_async_engine(
                url,
                pool_size=pool,
                max_overflow=0,
                hide_parameters=True,
                pool_timeout=COMMAND_TIMEOUT_SECONDS,
                connect_args=_connect_arguments(application),
            )
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open, commit on leaving, roll back on any exception; raises Unavailable when the database is."""
        transaction: Transaction | None = None
        try:
            async with self.engine.begin() as connection:
                transaction = Transaction(connection)
                if self.open_outbox:
                    transaction.outbox = self.open_outbox(transaction)
                yield transaction
        except (DBAPIError, PoolTimeout, OSError) as error:
            if transaction is None:  # no connection: whatever the server says of it, nothing was asked yet
                raise Unavailable(AWAY) from error
            raise_unavailable(error)
            raise
        for wake in transaction.after_commit:
            wake()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def raise_unavailable(error: Exception) -> None:
    """Raise Unavailable if the same again may work; else do nothing."""
    if isinstance(error, DBAPIError) and _is_answer(error):
        return
    raise Unavailable(AWAY) from error


def _is_answer(error: DBAPIError) -> bool:
    """Whether the database answered, and would answer the same again."""
    if isinstance(error, InterfaceError | OperationalError) or error.connection_invalidated:
        return False
    return not is_temporary(getattr(error.orig, "sqlstate", "unknown"))


def _connect_arguments(application: str) -> Mapping[str, Any]:
    return {
        "command_timeout": COMMAND_TIMEOUT_SECONDS,
        "server_settings": {"application_name": application, "jit": "off"},
    }


@lru_cache(maxsize=1_000)
def _statement(sql: str) -> TextClause:
    return text(sql)


def columns(rows: Iterable[object], *names: str) -> dict[str, list[Any]]:
    """The attributes of these names, each as the array of a parameter of that name, for `unnest`."""
    kept = list(rows)
    return {name: [getattr(row, name) for row in kept] for name in names}
