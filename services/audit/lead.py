"""Who leads: one process holds a log's lock, and shows a few times a second that it lives; others stand by.

A process that was stopped keeps its session, and with it the lock. So whoever stands by looks at the last
question of that session, and has the database end it once that has stayed the same for too long by its own
clock. The one that comes back has no lead any more; the head's epoch, or the signer's file, refuses the rest.
"""

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final

from services.audit.store import LogDatabase
from services.runtime.clock import running_time
from services.runtime.database import FAILURES
from services.runtime.errors import Unavailable
from services.runtime.logs import log

SEQUENCER_LOCK: Final = 7_100
SIGNER_LOCK: Final = 7_101
"""The first half of an advisory lock; the second is the hash of the log's name."""
SILENT_FOR: Final = timedelta(seconds=2.5)
LOST: Final = "this process leads no more; what it had in hand is left to whoever does"

_LOCK: Final = "SELECT pg_try_advisory_lock($1, hashtext($2))"
_BEAT: Final = "SELECT 1"
_HOLDER: Final = """
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND a.datname = current_database()
  AND l.classid = CAST(CAST($1 AS int) AS oid) AND l.objid = CAST(hashtext($2) & 4294967295 AS oid)"""
_LAST_BEAT: Final = f"SELECT a.query_start {_HOLDER}"
_END: Final = f"SELECT pg_terminate_backend(l.pid) {_HOLDER} AND a.query_start = $3"


class Lead:
    """The lead of one log, for one of its roles; each method raises Unavailable when the database is away."""

    def __init__(self, ledger: LogDatabase, lock: int) -> None:
        self._ledger = ledger
        self._lock = (lock, ledger.log)
        self._opened = AsyncExitStack()
        self._session: Any = None
        self._last_beat: object = None
        self._silent_since = timedelta()
        self.is_held = False

    async def take(self) -> bool:
        """Take the lead if it is free, and end the session of a holder that has long been silent."""
        try:
            if self._session is None:
                self._session = await self._opened.enter_async_context(self._ledger.database.session())
            self.is_held = bool(await self._session.fetchval(_LOCK, *self._lock))
            if not self.is_held:
                await self._watch()
        except FAILURES as error:
            await self.give_up()
            raise Unavailable("the database does not answer") from error
        return self.is_held

    async def beat(self) -> None:
        """Show that this process lives; raises Unavailable where it leads no more."""
        session = self._session
        if not self.is_held:
            raise Unavailable(LOST)
        try:
            await session.fetchval(_BEAT)
        except FAILURES as error:
            if session is self._session:
                self.is_held = False
            raise Unavailable(LOST) from error

    async def give_up(self) -> None:
        """Let another lead."""
        self._session, self.is_held = None, False
        await self._opened.aclose()

    async def _watch(self) -> None:
        last, now = await self._session.fetchval(_LAST_BEAT, *self._lock), running_time()
        if last is None or last != self._last_beat:
            self._last_beat, self._silent_since = last, now
        elif now - self._silent_since > SILENT_FOR:
            log().warning("silent_leader_ended")
            await self._session.fetchval(_END, *self._lock, last)
