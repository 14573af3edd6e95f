"""One open transaction, which the runtime alone opens and commits: SQL text with named parameters."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import asyncpg

_NAMED: Final = re.compile(r"(?<!:):([a-z_]+)")


class Row(asyncpg.Record):  # type: ignore[misc]  # the library has no types
    """One row: its columns in order, each also as an attribute, but `get`, `items`, `keys` and `values`."""

    def __getattr__(self, column: str) -> Any:
        try:
            return self[column]
        except KeyError:
            raise AttributeError(column) from None


class Transaction:
    """What stores write through; arrays go in through `unnest`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.after_commit: list[Callable[[], None]] = []
        """What to call, without waiting, once all is committed."""

    async def rows(self, sql: str, **parameters: Any) -> Sequence[Row]:
        """Run a statement, prepared once a connection, and give its rows."""
        text, names = _numbered(sql)
        rows: Sequence[Row] = await self._connection.fetch(text, *[parameters[name] for name in names])
        return rows

    async def run(self, sql: str, **parameters: Any) -> None:
        """Run a statement whose rows nobody needs."""
        await self.rows(sql, **parameters)

    async def run_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each of these rows, in one go."""
        text, names = _numbered(sql)
        await self._connection.executemany(text, [[row[name] for name in names] for row in rows])


def columns(rows: Iterable[object], *names: str) -> dict[str, list[Any]]:
    """The attributes of these names, each as the array of a parameter of that name, for `unnest`."""
    kept = list(rows)
    return {name: [getattr(row, name) for row in kept] for name in names}


@lru_cache(maxsize=1_000)
def _numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The text as PostgreSQL takes it, and the names of its parameters in their order."""
    names = tuple(dict.fromkeys(_NAMED.findall(sql)))
    return _NAMED.sub(lambda found: f"${names.index(found[1]) + 1}", sql), names
