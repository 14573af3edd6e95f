"""After a restore: a service asks its neighbours what they hold, gets back what it lost, and serves then.

Each step can be done again, so a kill at any of them costs time alone.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import httpx2
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import ASGIApp

from schemas.wire.body import instant_text
from services.runtime import administration, kafka, operator_acts, refusals
from services.runtime.acts import Reason
from services.runtime.alarms import Alarm
from services.runtime.clock import SystemClock
from services.runtime.crash import crash_point
from services.runtime.database import FAILURES, Database
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.runtime.neighbours import (
    ReceivedKey,
    ReceivedPage,
    SentAgain,
    ServiceName,
    StillWaiting,
    Streams,
)
from services.runtime.offsets import Partition, Place
from services.runtime.peers import internal_client
from services.runtime.problems import refusal
from services.runtime.settings import RuntimeSettings
from services.runtime.web import caller_of
from services.runtime.worker import Backoff, Worker
from services.runtime.writer_epoch import WriterEpoch

A = TypeVar("A", bound=BaseModel)
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
POLL_SECONDS: Final = 1.0
ANSWER_WITHIN_SECONDS: Final = 30.0
AWAITED_FOR: Final = timedelta(minutes=5)
"""A neighbour that has not given all for so long is an alarm: it may be that it never will."""
ANSWER_BYTES_MAX: Final = 1 << 20
PAGES_MAX: Final = 20_000
NUMBER_MAX: Final = 1 << 30
"""No key gets so far; numbers above it would leave what a receipt can say."""
LOCK_CLASS: Final = 7_005
"""The advisory lock of the one process of a service that asks; the others wait for it."""
OPEN: Final = (
    "/v1/received", "/v1/resend", "/v1/absences", "/v1/readers", "/v1/dead-letters", "/v1/acts",
    "/v1/operations",
)  # fmt: skip
"""What can be asked of a service that does not serve yet."""

_STATE_AT: Final = """
UPDATE writer SET report = CASE WHEN state_at IS NULL THEN NULL ELSE report END,
  state_at = coalesce(state_at, (SELECT max(received_at) - interval '1 hour' FROM inbox), :ever)
RETURNING state_at"""
_UNSENT: Final = """
SELECT send_again(array_agg(topic), array_agg(key), 0, NULL) AS count
FROM sequence_out
WHERE topic = ANY(CAST(:topics AS text[])) AND confirmed < last AND substring(key FOR 4) <> 'rcp_'"""
_NUMBER_ON: Final = """
WITH raised AS (
  INSERT INTO sequence_out AS s (topic, key, last)
  SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:keys AS bytea[]), CAST(:lasts AS bigint[]))
  ON CONFLICT (topic, key) DO UPDATE SET last = excluded.last WHERE s.last < excluded.last RETURNING 1)
UPDATE writer SET report = jsonb_build_object(
  'keys_ahead', coalesce((report->>'keys_ahead')::bigint, 0) + (SELECT count(*) FROM raised))"""
_PLACES: Final = "SELECT topic, part, topic_id, next FROM consumer_offset WHERE grp = :grp"
_DONE: Final = """
UPDATE writer SET restoring = false, state_at = NULL, report = coalesce(report, '{}') || jsonb_build_object(
  'epoch', epoch, 'state_at', state_at, 'events_sent_again', CAST(:count AS bigint),
  'done_at', clock_timestamp())
RETURNING report::text"""
_ABSENT: Final = "SELECT coalesce(report->'without', '[]')::text AS names FROM writer"
_GO_WITHOUT: Final = """
UPDATE writer SET report = coalesce(report, '{}') || jsonb_build_object(
  'without', coalesce(report->'without', '[]') || to_jsonb(CAST(:neighbour AS text)))
WHERE restoring RETURNING 1"""
_IS_RESTORING: Final = "SELECT restoring FROM writer"
_LEAD: Final = "SELECT pg_try_advisory_lock($1, 0)"


class Absence(BaseModel):
    """A neighbour that a restored service is to serve without, and why."""

    model_config = ConfigDict(extra="forbid")

    neighbour: ServiceName
    reason: Reason


class Restoring(Worker):
    """Keeps a service closed until both sides agree; where nothing was put back it is open at once."""

    def __init__(
        self,
        database: Database,
        streams: Streams,
        settings: RuntimeSettings,
        epoch: WriterEpoch,
        before_serving: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__()
        self._before_serving = before_serving
        self._database = database
        self._streams = streams
        self._settings = settings
        self._epoch = epoch
        self._since = SystemClock().now()
        self.may_send = asyncio.Event()
        """Set once no number can be given twice: readers and relays may run."""
        self.may_serve = asyncio.Event()
        """Set once what was lost is here again."""
        self._is_open = False
        self._awaited: dict[str, datetime] = {}
        """Which neighbours have not given all, and since when they are asked."""
        self._sent: dict[str, SentAgain] = {}
        """How far each has sent again: an attempt that fails does not ask for it once more."""
        if not epoch.is_restoring:
            self._open()

    def why_closed(self) -> str | None:
        """Why nobody is served, or None."""
        return None if self._is_open else "restoring"

    def alarms(self) -> list[Alarm]:
        """That file and database disagreed at the start of this process; who is waited for too long."""
        late = SystemClock().now() - AWAITED_FOR
        awaited = [Alarm("neighbour_awaited", *one) for one in self._awaited.items() if one[1] <= late]
        return [Alarm("database_older", "", self._since)] * self._epoch.was_raised + awaited

    def routes(self) -> APIRouter:
        """The operator's door to a service that waits for a neighbour."""
        router, streams = APIRouter(prefix="/v1"), self._streams

        @router.post("/absences")
        async def go_without(request: Request, absence: Absence) -> Mapping[str, str]:
            """Serve without what this neighbour would send again."""
            if caller_of(request) != streams.identity.operator:
                raise refusals.OperatorOnly
            async with self._database.transaction() as transaction:
                is_asked = absence.neighbour in (*streams.readers, *streams.writers)
                if not is_asked or not await transaction.rows(_GO_WITHOUT, neighbour=absence.neighbour):
                    raise refusals.NotAwaited
                await operator_acts.record(
                    transaction, "serve_without", {"neighbours": 1}, reason=absence.reason
                )
            log().warning("serves_without", peer=absence.neighbour)
            return {"without": absence.neighbour}

        return router

    def stop(self) -> None:
        """Leave; whoever waits is let go, to find that it is stopping too."""
        super().stop()
        self.may_send.set()
        self.may_serve.set()

    async def run(self) -> None:
        """Ask until all is agreed; a neighbour that is away is waited for."""
        backoff = Backoff()
        while not (self.is_stopping or self._is_open):
            self.clear()
            seconds = POLL_SECONDS
            try:
                async with self._database.session() as session:
                    if await session.fetchval(_LEAD, LOCK_CLASS):
                        await self._restore()
                    else:
                        self._awaited.clear()  # the other process's to tell
                        await self._follow()
                backoff.reset()
            except (Unavailable, httpx2.HTTPError, *FAILURES) as error:
                peer = next(iter(self._awaited), None)
                log().warning("restoring_waits", error_class=type(error).__name__, peer=peer)
                seconds = backoff.next()
            if not self._is_open:
                await self.pause(seconds)

    def _open(self) -> None:
        self._is_open = True
        self._awaited.clear()
        self.may_send.set()
        self.may_serve.set()

    async def _follow(self) -> None:
        async with self._database.transaction() as transaction:
            [row] = await transaction.rows(_IS_RESTORING)
        if not row.restoring:
            self._open()

    async def _restore(self) -> None:
        await self._follow()  # another process may have been through
        if self._is_open:
            return
        async with self._database.transaction() as transaction:
            [state] = await transaction.rows(_STATE_AT, ever=EVER)
        crash_point("restoring.begun")
        async with AsyncExitStack() as stack:
            names = {*self._streams.readers, *self._streams.writers} - await self._absent()
            clients = {name: await stack.enter_async_context(self._client(name)) for name in names}
            if not self.may_send.is_set():
                await self._number_on(clients)
                crash_point("restoring.numbered")
                self.may_send.set()
            for name in self._streams.writers:
                await self._resend(name, clients.get(name), state.state_at)
            crash_point("restoring.resent")
        await self._read_all()
        if self._before_serving:
            await self._before_serving()
        if not self.is_stopping:
            await self._finish(sum(sent.events for sent in self._sent.values()))

    def _client(self, name: str) -> httpx2.AsyncClient:
        address = self._settings.neighbours.get(name)
        if self._settings.tls is None or address is None:
            raise Unavailable(f"set CONCERT_NEIGHBOURS: nobody knows where {name} answers")
        return internal_client(self._settings.tls, name, base_url=address, seconds=ANSWER_WITHIN_SECONDS)

    async def _number_on(self, clients: Mapping[str, httpx2.AsyncClient]) -> None:
        """Go on above what readers have; what was sent and nobody has leaves before anything new."""
        identity = self._streams.identity
        names = {topic.title: topic.name(identity.namespace) for topic in self._streams.writes}
        async with self._database.transaction() as transaction:
            led_back = [topic for topic in self._streams.writes if topic.leads_back]
            await transaction.run(_UNSENT, topics=[names[topic.title] for topic in led_back])
        for reader in {*self._streams.readers} & clients.keys():
            self._awaited.setdefault(reader, SystemClock().now())
            async for page in received_pages(clients[reader], identity.service, names):
                known = sorted((names[one.topic], one.key, one.sequence) for one in page)
                async with self._database.transaction() as transaction:
                    await transaction.run(
                        _NUMBER_ON,
                        topics=[topic for topic, _, _ in known],
                        keys=[key.encode() for _, key, _ in known],
                        lasts=[last for _, _, last in known],
                    )
            del self._awaited[reader]

    async def _resend(self, name: str, client: httpx2.AsyncClient | None, since: datetime) -> None:
        """Have all sent again page by page, each once the last has left; goes on where it broke off."""
        asked: dict[str, Any] = {"to": self._streams.identity.service, "since": instant_text(since)}
        self._awaited.setdefault(name, SystemClock().now())
        while client and name not in await self._absent() and not self.is_stopping:
            sent = self._sent.get(name)
            if not (sent and await self._is_waiting(client, sent.until)):
                left = sent and sent.left
                if sent and left is None:
                    break
                more = {"left": left.model_dump()} if left else {}
                page = await answer_of(client, SentAgain, "POST", "/v1/resend", json=asked | more)
                if left and page.left and page.left.first <= left.first:
                    raise Unavailable("a neighbour begins again and again")
                events = page.events + (sent.events if sent else 0)
                self._sent[name] = page.model_copy(update={"events": events})
            await self.pause(POLL_SECONDS)
        del self._awaited[name]

    async def _is_waiting(self, client: httpx2.AsyncClient, until: int) -> bool:
        asked = {"to": self._streams.identity.service, "until": str(until)}
        return (await answer_of(client, StillWaiting, "GET", "/v1/resend", params=asked)).is_waiting

    async def _absent(self) -> set[str]:
        async with self._database.transaction() as transaction:
            [row] = await transaction.rows(_ABSENT)
        return {*json.loads(row.names)}

    async def _read_all(self) -> None:
        """Wait until this service has read what the logs hold by now."""
        identity = self._streams.identity
        names = [topic.name(identity.namespace) for topic in self._streams.reads]
        assert self._settings.kafka  # noqa: S101  nothing is restored without brokers
        try:
            ends = await asyncio.to_thread(kafka.log_ends, self._settings.kafka, names)
        except administration.FAILURES as error:
            raise Unavailable("the brokers do not answer") from error
        while not self.is_stopping:
            async with self._database.transaction() as transaction:
                rows = await transaction.rows(_PLACES, grp=identity.group)
            if is_read(ends, {(row.topic, row.part): (row.topic_id, row.next) for row in rows}):
                return
            await self.pause(POLL_SECONDS)

    async def _finish(self, count: int) -> None:
        async with self._database.transaction() as transaction:
            await transaction.run(_DONE, count=count)
        crash_point("restoring.done")
        log().warning("restored", epoch=self._epoch.number, count=count)
        self._open()


async def received_pages(
    client: httpx2.AsyncClient, writer: str, titles: Collection[str]
) -> AsyncIterator[Sequence[ReceivedKey]]:
    """What a reader has of a writer's topics, page after page; raises Unavailable for what cannot be."""
    asked = {"from": writer}
    for _ in range(PAGES_MAX):
        page = await answer_of(client, ReceivedPage, "GET", "/v1/received", params=asked)
        if not all(one.topic in titles and one.sequence <= NUMBER_MAX for one in page.data):
            raise Unavailable("a neighbour tells of topics or numbers that there cannot be")
        yield page.data
        if page.after is None:
            return
        if page.after == asked.get("after"):
            break
        asked["after"] = page.after
    raise Unavailable("a neighbour's pages have no end")


async def answer_of(client: httpx2.AsyncClient, form: type[A], method: str, path: str, **more: Any) -> A:
    """A neighbour's answer, bounded in time and length; raises Unavailable for one that is none."""
    content = bytearray()
    async with asyncio.timeout(ANSWER_WITHIN_SECONDS), client.stream(method, path, **more) as answer:
        async for piece in answer.raise_for_status().aiter_raw():  # packed, it would be no JSON
            content += piece
            if len(content) > ANSWER_BYTES_MAX:
                raise Unavailable("a neighbour's answer is too long")
    try:
        return form.model_validate_json(content)
    except ValidationError:
        raise Unavailable("a neighbour's answer cannot be read") from None


def is_read(ends: Mapping[Partition, Place], places: Mapping[Partition, Place]) -> bool:
    """Whether a reader is where these logs end, each of them the log that it reads."""
    nowhere = (None, -1)
    return all(
        places.get(one, nowhere)[0] == topic_id and places.get(one, nowhere)[1] >= end
        for one, (topic_id, end) in ends.items()
    )


def closed_while(app: ASGIApp, why_closed: Callable[[], str | None], but: Collection[str] = ()) -> ASGIApp:
    """An application that refuses what is asked while it is closed, but for paths that begin so."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and why_closed() and not scope["path"].startswith(tuple(but)):
            await refusal(refusals.StillRestoring())(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded
