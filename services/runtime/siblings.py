"""The processes of a service among themselves: each holds its number, and hears what others have committed.

What must reach another process at once (a feed has grown, events wait for a relay that is not here) is told
by NOTIFY after the commit that it is about, many at once, and only where there is another process, for NOTIFY
takes a lock of the whole server. Nothing rests on it: whoever waits looks by itself now and then too.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from services.runtime.database import FAILURES, Database
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.runtime.worker import Backoff, Worker

LOCK_CLASS: Final = 7_003
"""The first half of the advisory locks of processes; the second is the number."""
CHANNEL: Final = "siblings"
LOOK_SECONDS: Final = 3.0
"""How often it is looked whether there are others; whoever stands still for longer loses its number."""
TAKE_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.01
NEWS_CHARACTERS_MAX: Final = 7_000
"""Below what one NOTIFY carries; whoever has more to tell says that everything changed."""
ALL: Final = "*"

_TAKE: Final = "SELECT pg_try_advisory_lock($1, $2)"
_COUNT: Final = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_TELL: Final = "SELECT pg_notify($1, $2)"

Hear = Callable[[Collection[str]], None]
"""Told the names of what has changed, `ALL` for everything."""


class Siblings(Worker):
    """One connection: the lock on this process's number, and news from and for the others."""

    def __init__(self, database: Database, number: int, lease_seconds: float) -> None:
        """After `lease_seconds` without a look, the server gives the number to whoever asks."""
        super().__init__()
        self._database = database
        self._number = number
        self._lease_seconds = lease_seconds
        self._hears: dict[str, Hear] = {}
        self._news: dict[str, set[str]] = {}
        self.owns_number = False
        """False while another process may have it: brokers would take the two for one."""
        self.are_there = False
        """Whether this service has another process."""

    def hear(self, kind: str, hear: Hear) -> None:
        """Be told what the others tell of this kind."""
        self._hears[kind] = hear

    def tell(self, kind: str, names: Collection[str] = (ALL,)) -> None:
        """Tell the others, if there are any, what was committed here; a moment later, many at once."""
        if self.are_there:
            self._news.setdefault(kind, set()).update(names)
            self.wake_within(GATHER_SECONDS)

    async def run(self) -> None:
        """Hold the number and pass on news until stopped; without a database nobody is told anything."""
        backoff = Backoff()
        while not self.is_stopping:
            try:
                async with self._database.session(lease_seconds=self._lease_seconds) as session:
                    await session.execute("SET synchronous_commit = off")  # news need no disk
                    await session.add_listener(CHANNEL, self._heard)
                    await self._take_number(session)
                    for hear in self._hears.values():
                        hear((ALL,))  # nobody listened meanwhile
                    await self._pass_on(session, backoff)
            except (Unavailable, *FAILURES) as error:
                log().warning("siblings_away", error_class=type(error).__name__)
                await self.pause(backoff.next())

    async def _take_number(self, session: Any) -> None:
        while not self.is_stopping:
            self.clear()
            if await session.fetchval(_TAKE, LOCK_CLASS, self._number):
                self.owns_number = True
                return
            if self.owns_number:
                log().error("number_taken", count=self._number)
                self.owns_number = False
            await self.pause(TAKE_SECONDS)

    async def _pass_on(self, session: Any, backoff: Backoff) -> None:
        while not self.is_stopping:
            self.clear()
            if self._news:
                news, self._news = self._news, {}
                for kind, names in news.items():
                    text = " ".join(sorted(names))
                    await session.execute(
                        _TELL, CHANNEL, f"{kind} {text if len(text) < NEWS_CHARACTERS_MAX else ALL}"
                    )
            else:
                self.are_there = await session.fetchval(_COUNT, LOCK_CLASS) > 1
            backoff.reset()
            await self.pause(LOOK_SECONDS)

    def _heard(self, session: Any, teller: int, _channel: str, told: object) -> None:
        kind, *names = str(told).split(" ")
        if teller != session.get_server_pid() and (hear := self._hears.get(kind)):
            hear(names)
