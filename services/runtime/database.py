"""PostgreSQL for a service: one pool, transactions that the runtime alone opens and commits."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.runtime.errors import Unavailable
from services.runtime.settings import DatabaseSettings, secret_from
from services.runtime.transaction import Transaction

W = TypeVar("W")

POOL_CONNECTIONS: Final = 8
COMMAND_TIMEOUT_SECONDS: Final = 30
AWAY: Final = "the database does not answer; the same again will be tried"
TEMPORARY: Final = ("08", "53", "57", "40001", "40P01")
"""SQLSTATE classes and codes after which the same again may work (stack.md §4.1)."""


def is_temporary(sqlstate: str | None) -> bool:
    """Whether a failure with this SQLSTATE passes by itself; no SQLSTATE means the connection is gone."""
    return sqlstate is None or sqlstate.startswith(TEMPORARY)


class Database:
    """The pool of one database role; `transaction` is the only door."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    def connect(
        cls, settings: DatabaseSettings, *, application: str, pool: int = POOL_CONNECTIONS
    ) -> "Database":
        """A pool that opens its first connection when it is first used."""
        return cls(
            create_async_engine(
                url_of(settings),
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
                yield transaction
        except (DBAPIError, PoolTimeout, OSError) as error:
            if transaction is None:  # no connection: whatever the server says of it, nothing was asked yet
                raise Unavailable(AWAY) from error
            raise_unavailable(error)
            raise
        for wake in transaction.after_commit:
            wake()

    def opener(self, make: Callable[[Transaction], W]) -> Callable[[], AbstractAsyncContextManager[W]]:
        """Opens what a service makes of a transaction, which is committed on leaving."""

        @asynccontextmanager
        async def opened() -> AsyncIterator[W]:
            async with self.transaction() as transaction:
                yield make(transaction)

        return opened

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def url_of(settings: DatabaseSettings) -> URL:
    """The whole URL, with the password of its file."""
    url = make_url(settings.url)
    if settings.password_file:
        return url.set(password=secret_from(settings.password_file).get_secret_value())
    return url


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
