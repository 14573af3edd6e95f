"""Health on a port of its own: alive, ready, started, and the figures for Prometheus."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from fastapi import FastAPI, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.runtime.alarms import Alarm, AlarmSource
from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.metrics import OUTBOX_PENDING
from services.runtime.web import NotFound, create_app, problem

HEARTBEAT_SECONDS: Final = 1.0
STALE_SECONDS: Final = 10.0
_PENDING: Final = "SELECT count(*) AS pending FROM (SELECT 1 FROM outbox LIMIT :most) o"


class Health:
    """What the probes look at: the loop's heartbeat, the database, the outbox's size; never broker or lag."""

    def __init__(
        self,
        database: Database,
        *,
        has_outbox: bool,
        outbox_rows_max: int,
        why_halted: Callable[[], str | None] = lambda: None,
        alarms: Sequence[AlarmSource] = (),
    ) -> None:
        self._database = database
        self._has_outbox = has_outbox
        self._outbox_rows_max = outbox_rows_max
        self._why_halted = why_halted
        self._alarm_sources = alarms
        self._beat_at = time.monotonic()
        self.draining = False

    def beat(self) -> None:
        """Tell that the event loop turns."""
        self._beat_at = time.monotonic()

    def is_alive(self) -> bool:
        """Whether the loop has turned lately."""
        return time.monotonic() - self._beat_at < STALE_SECONDS

    def alarms(self) -> list[Alarm]:
        """What a person must look at now; the service goes on all the same."""
        return [alarm for source in self._alarm_sources for alarm in source()]

    async def why_not_ready(self) -> str | None:
        """The reason for not taking requests, or None."""
        if self.draining:
            return "draining"
        if halted := self._why_halted():
            return halted
        try:
            async with self._database.transaction() as transaction:
                if not self._has_outbox:
                    await transaction.run("SELECT 1")
                    return None
                rows = await transaction.rows(_PENDING, most=self._outbox_rows_max)
        except Unavailable:
            return "database"
        OUTBOX_PENDING.set(rows[0].pending)
        return "outbox" if rows[0].pending >= self._outbox_rows_max else None


def _nobody(_request: object) -> None:
    """The probes take no bodies, from nobody."""
    raise NotFound


def health_app(health: Health) -> FastAPI:
    """The probes' application."""
    app = create_app("health", _nobody)

    @app.get("/livez")
    async def livez() -> Response:
        """The process's loop turns."""
        return (
            Response("ok") if health.is_alive() else problem(503, "stalled", "the event loop does not turn")
        )

    @app.get("/readyz")
    async def readyz() -> Response:
        """Requests can be taken."""
        reason = await health.why_not_ready()
        if reason is None:
            return JSONResponse({"alarms": jsonable_encoder(health.alarms())})
        return problem(503, "not_ready", f"waiting: {reason}", headers={"retry-after": "2"})

    @app.get("/startupz")
    async def startupz() -> Response:
        """The schema is the one this code needs; a process that answers here has checked it."""
        return Response("ok")

    @app.get("/metrics")
    async def metrics() -> Response:
        """All figures of this process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
