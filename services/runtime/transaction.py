"""One open transaction, which the runtime alone opens and commits: SQL text with named parameters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection


class Transaction:
    """What stores write through; arrays go in through `unnest`."""

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

    async def run_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each of these rows, in one go."""
        await self.connection.execute(_statement(sql), rows)


def columns(rows: Iterable[object], *names: str) -> dict[str, list[Any]]:
    """The attributes of these names, each as the array of a parameter of that name, for `unnest`."""
    kept = list(rows)
    return {name: [getattr(row, name) for row in kept] for name in names}


@lru_cache(maxsize=1_000)
def _statement(sql: str) -> TextClause:
    return text(sql)
