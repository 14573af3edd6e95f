"""Health on a port of its own: alive, ready, started, and the figures for Prometheus."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.runtime.alarms import RULES, Alarm, AlarmSource
from services.runtime.backlog import Backlog, read_backlog
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.errors import Unavailable, define_refusal
from services.runtime.metrics import (
    ALARMS,
    ALONE,
    BUILD,
    DEAD_LETTER_DEPTH,
    DEAD_LETTER_OLDEST,
    OUTBOX_OLDEST,
    OUTBOX_PENDING,
)
from services.runtime.problems import refusal
from services.runtime.version import version
from services.runtime.web import caller_of, create_app

PROBED_WITHIN_SECONDS: Final = 1.0
"""A database that does not answer within this time does not answer: whoever probes waits little longer."""
NotReady: Final = define_refusal(__name__, "not_ready", "the service takes no requests now", 503)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What one look found."""

    reason: str | None
    """The rule that keeps the service from taking requests, or None."""
    alarms: Sequence[Alarm]
    backlog: Backlog | None


class Health:
    """What the probes look at: the database, what waits in it, the alarms.

    Brokers and lag never make a service unready: writes stay open without them. Without a limit of its rows
    there is no outbox.
    """

    def __init__(
        self,
        database: Database,
        part: str = "",
        *,
        outbox_rows_max: int | None,
        why_halted: Callable[[], str | None] = lambda: None,
        alarms: Sequence[AlarmSource] = (),
        measurements: Sequence[Callable[[], None]] = (),
    ) -> None:
        """Each of `measurements` tells, from memory, what is known at that moment."""
        self.part = part
        """The name of this process among those of its service."""
        self._database = database
        self._outbox_rows_max = outbox_rows_max
        self._why_halted = why_halted
        self._alarm_sources = alarms
        self._measurements = measurements
        self._clock = SystemClock()
        self._asking: asyncio.Task[Backlog | None] | None = None
        self._not_ready: Alarm | None = None
        self.draining = False

    async def look(self) -> Readiness:
        """Ask the database and every source of alarms, and set the figures."""
        backlog = await self._ask_in_time()
        reason = self._reason(backlog)
        alarms = [alarm for source in self._alarm_sources for alarm in source()]
        alarms += backlog.alarms if backlog else ()
        if reason is None or self._not_ready is None or self._not_ready.rule != reason:
            self._not_ready = Alarm(reason, "", self._clock.now()) if reason else None
        if self._not_ready and reason not in {alarm.rule for alarm in alarms}:
            alarms.append(self._not_ready)
        _set_figures(backlog, alarms)
        for tell in self._measurements:
            tell()
        return Readiness(reason, alarms, backlog)

    async def close(self) -> None:
        """End a question that the database has not answered."""
        if self._asking:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    def _reason(self, backlog: Backlog | None) -> str | None:
        if self.draining:
            return "draining"
        if halted := self._why_halted():
            return halted
        if backlog is None:
            return "database"
        return "outbox_full" if backlog.is_full else None

    async def _ask_in_time(self) -> Backlog | None:
        """One question at a time, however many probe; one that is not answered in time goes on behind."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        done, _ = await asyncio.wait({self._asking}, timeout=PROBED_WITHIN_SECONDS)
        return self._asking.result() if done else None

    async def _ask(self) -> Backlog | None:
        try:
            if self._outbox_rows_max is not None:
                return await read_backlog(self._database, outbox_rows_max=self._outbox_rows_max)
            async with self._database.transaction() as transaction:
                await transaction.run("SELECT 1")
        except Unavailable:
            return None
        return Backlog()


def _set_figures(backlog: Backlog | None, alarms: Sequence[Alarm]) -> None:
    standing = Counter(alarm.rule for alarm in alarms)
    for rule in RULES:
        ALARMS.labels(rule).set(standing[rule])
    is_known = backlog is not None and backlog.letters is not None  # else there is none, or nobody knows
    found = backlog if backlog and is_known else Backlog()
    OUTBOX_PENDING.tell({ALONE: found.pending} if is_known else {})
    OUTBOX_OLDEST.tell({ALONE: found.oldest_seconds} if is_known else {})
    DEAD_LETTER_DEPTH.tell({(reason,): count for reason, count in (found.letters or {}).items()})
    DEAD_LETTER_OLDEST.tell({(reason,): age for reason, age in (found.letter_seconds or {}).items()})


def health_app(health: Health) -> FastAPI:
    """The probes' application."""
    app = create_app("health", caller_of)  # nobody shows a certificate here, so no body is read

    @app.get("/livez")
    @app.get("/startupz")
    async def livez() -> Response:
        """The loop turns, or nobody would answer; and the schema is the one this code needs."""
        return Response("ok")

    @app.get("/readyz")
    async def readyz() -> Response:
        """Requests can be taken; and what a person must look at, whether they can or not."""
        found = await health.look()
        told = {"process": health.part, "alarms": jsonable_encoder(found.alarms)}
        if found.reason is not None:
            return refusal(NotReady(), detail=f"waiting: {found.reason}", **told)
        assert found.backlog  # noqa: S101  without it the reason is `database`
        outbox = {"pending": found.backlog.pending, "oldest_seconds": found.backlog.oldest_seconds}
        return JSONResponse({**told, "outbox": outbox, "dead_letters": found.backlog.letters})

    @app.get("/metrics")
    async def metrics() -> Response:
        """All figures of this process, as they are now."""
        await health.look()
        BUILD.tell({(version(),): 1})
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
