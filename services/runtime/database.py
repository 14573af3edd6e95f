"""PostgreSQL for a service: one pool, transactions that the runtime alone opens and commits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any, Final, TypeVar

import asyncpg

from services.runtime.errors import Unavailable
from services.runtime.settings import DatabaseSettings, secret_from
from services.runtime.transaction import Row, Transaction

W = TypeVar("W")

POOL_CONNECTIONS: Final = 8
COMMAND_TIMEOUT_SECONDS: Final = 30
CLOSE_WITHIN_SECONDS: Final = 5
AWAY: Final = "the database does not answer; the same again will be tried"
TEMPORARY: Final = ("08", "53", "57", "58", "25P03", "40001", "40P01")
"""SQLSTATE classes and codes after which the same again may work (stack.md §4.1); 58 is a disk that fails."""
PLANNING: Final = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""Every statement of ours finds its rows by an index: planned once so, not anew each time it runs."""
FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the database, its driver or the way to it can raise."""


class Database:
    """The pool of one database role; `transaction` is the only door."""

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        application: str,
        pool: int = POOL_CONNECTIONS,
        lease_seconds: float = 0,
    ) -> None:
        """A pool that opens its first connection when it is first used.

        A process that stands still within a transaction for `lease_seconds` loses it, and with it its locks.
        """
        self._connections_max = pool
        self._pool: Any = None
        self._arguments: dict[str, Any] = {
            **address_of(settings),
            "command_timeout": COMMAND_TIMEOUT_SECONDS,
            "max_cached_statement_lifetime": 0,  # prepared once, as long as the connection lives
            "record_class": Row,
            "server_settings": {
                "application_name": application,
                "idle_in_transaction_session_timeout": _milliseconds(lease_seconds),
                **PLANNING,
            },
        }

    @asynccontextmanager
    async def transaction(self, *, singly: bool = False) -> AsyncIterator[Transaction]:
        """Open, commit on leaving, roll back on any exception; raises Unavailable when the database is.

        Where `singly`, each statement is a transaction of its own, and two round trips are spared.
        """
        transaction: Transaction | None = None
        try:
            pool = await self._opened()
            async with (
                pool.acquire(timeout=COMMAND_TIMEOUT_SECONDS) as connection,
                nullcontext() if singly else connection.transaction(),
            ):
                transaction = Transaction(connection)
                yield transaction
        except FAILURES as error:
            if transaction is None or is_temporary(error):  # without a connection nothing was asked yet
                raise Unavailable(AWAY) from error
            raise
        for wake in transaction.after_commit:
            wake()

    @asynccontextmanager
    async def session(self, *, lease_seconds: float = 0) -> AsyncIterator[Any]:
        """A connection outside the pool, cut on leaving: the locks of its session end with it.

        The server cuts it too where nothing is asked on it for `lease_seconds`.
        """
        settings = self._arguments["server_settings"] | {"idle_session_timeout": _milliseconds(lease_seconds)}
        connection = await asyncpg.connect(**{**self._arguments, "server_settings": settings})
        try:
            yield connection
        finally:
            connection.terminate()

    def opener(
        self, make: Callable[[Transaction], W], *, singly: bool = False
    ) -> Callable[[], AbstractAsyncContextManager[W]]:
        """Opens what a service makes of a transaction, which is committed on leaving."""

        @asynccontextmanager
        async def opened() -> AsyncIterator[W]:
            async with self.transaction(singly=singly) as transaction:
                yield make(transaction)

        return opened

    @property
    def in_use(self) -> int:
        """How many connections of the pool something holds now."""
        return self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0

    async def close(self) -> None:
        """Close every connection."""
        pool, self._pool = self._pool, None
        if pool:
            with suppress(TimeoutError):  # whatever is still under way then is cut
                await asyncio.wait_for(pool.close(), CLOSE_WITHIN_SECONDS)

    async def _opened(self) -> Any:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                min_size=0,
                max_size=self._connections_max,
                max_inactive_connection_lifetime=0,
                reset=_nothing,
                **self._arguments,
            )
            await self._pool  # opens none yet, so that nobody has to wait for it
        return self._pool


def address_of(settings: DatabaseSettings) -> dict[str, Any]:
    """Where the driver connects to, with the password of its file."""
    password = secret_from(settings.password_file).get_secret_value() if settings.password_file else None
    return {"dsn": settings.url.replace("+asyncpg", "", 1), "password": password}


def is_temporary(error: Exception) -> bool:
    """Whether the same again may work: the database did not answer, or says itself that it passes."""
    if isinstance(error, asyncpg.PostgresError):
        return error.sqlstate is None or error.sqlstate.startswith(TEMPORARY)
    return not isinstance(error, ValueError)  # the driver's own: a value that no column takes


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


async def _nothing(_connection: Any) -> None:
    """A transaction leaves nothing behind that would have to be reset, so no round trip is spent on it."""
