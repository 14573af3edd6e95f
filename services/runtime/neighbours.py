"""What a service whose database was put back asks others: how far they read it, and to send again."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from schemas.wire.body import Instant
from schemas.wire.topic import Topic, source_of
from services.runtime import refusals
from services.runtime.backlog import is_outbox_full
from services.runtime.database import Database
from services.runtime.identity import Identity
from services.runtime.log_ends import LogEnds, SentStretch
from services.runtime.logs import log
from services.runtime.web import caller_of

ROWS_MAX: Final = 1_000
"""How many keys one page tells of."""
SENT_ROWS_MAX: Final = 10_000
"""How many rows that were sent one request looks through; none is begun while more wait to be sent."""
PAUSE_SECONDS: Final = 1.0
"""Between two of them; or a neighbour that asks on and on would let all others wait."""
_RECEIVED: Final = """
SELECT topic, key, last FROM sequence_in
WHERE topic = ANY(CAST(:topics AS text[])) AND source = :source
  AND (topic, key) > (:after_topic, CAST(:after_key AS bytea))
ORDER BY topic, key LIMIT :rows_max"""
_LAST_ROW: Final = """
SELECT coalesce(max(id), 0) AS id FROM outbox WHERE topic = ANY(CAST(:topics AS text[]))"""
_WAITING: Final = """
SELECT EXISTS (SELECT FROM outbox WHERE topic = ANY(CAST(:topics AS text[])) AND id <= :until) AS it_does"""

ServiceName = Annotated[str, Field(pattern=r"^[a-z_]{1,30}$")]
After = Annotated[str, Field(pattern=r"^[a-z._]{1,100}:[a-z0-9][a-z0-9_:-]{0,63}$")]
RowNumber = Annotated[int, Field(ge=0, lt=1 << 63)]


class ReceivedKey(BaseModel):
    """How far a reader is with one key."""

    topic: Annotated[str, Field(pattern=r"^[a-z._]{1,100}$")]
    key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_:-]{0,63}$")]
    sequence: Annotated[int, Field(strict=True, ge=0)]


class ReceivedPage(BaseModel):
    """What a reader has of one writer, and where the next page begins."""

    data: Annotated[list[ReceivedKey], Field(max_length=ROWS_MAX)]
    after: After | None


class SentAgain(BaseModel):
    """How many events a writer sends again, the number of the last row of them, and what is left."""

    events: Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
    until: Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
    left: SentStretch | None = None


class StillWaiting(BaseModel):
    """Whether any of that has not left yet."""

    is_waiting: bool


class Resend(BaseModel):
    """To whom all is sent again that was sent since then, or what is left of that."""

    model_config = ConfigDict(extra="forbid")

    to: ServiceName
    since: Instant
    left: SentStretch | None = None


@dataclass(frozen=True, slots=True)
class Streams:
    """What a service reads and writes, as its neighbours see it."""

    identity: Identity
    reads: Sequence[Topic]
    writes: Sequence[Topic]

    @property
    def readers(self) -> list[str]:
        """The other services that read what it writes."""
        return sorted({one for topic in self.writes for one in topic.readers} - {self.identity.service})

    @property
    def writers(self) -> list[str]:
        """The other services that write what it reads."""
        return sorted({topic.writer for topic in self.reads} - {self.identity.service})

    def titles_from(self, writer: str) -> list[str]:
        """The topics that it reads of a writer."""
        return [topic.title for topic in self.reads if topic.writer == writer]

    def names_to(self, reader: str) -> list[str]:
        """The topics that it writes for a reader, as the brokers name them."""
        return [topic.name(self.identity.namespace) for topic in self.writes if reader in topic.readers]


def routes(database: Database, streams: Streams, log_ends: LogEnds) -> APIRouter:
    """The door for a neighbour whose database was put back; the operator may look too."""
    router, identity, sending = APIRouter(prefix="/v1"), streams.identity, asyncio.Lock()

    def check(request: Request, service: str) -> None:
        if caller_of(request) not in (source_of(identity.cell, service), identity.operator):
            raise refusals.NamedServiceOnly

    @router.get("/received")
    async def received(
        request: Request, writer: Annotated[ServiceName, Query(alias="from")], after: After | None = None
    ) -> ReceivedPage:
        """The highest number that was applied, by topic and key; `after` is where the next page begins."""
        check(request, writer)
        topic, _, key = (after or ":").partition(":")
        async with database.transaction() as transaction:
            rows = await transaction.rows(
                _RECEIVED,
                topics=streams.titles_from(writer),
                source=source_of(identity.cell, writer),
                after_topic=topic,
                after_key=key.encode(),
                rows_max=ROWS_MAX,
            )
        data = [ReceivedKey(topic=row.topic, key=row.key.decode(), sequence=row.last) for row in rows]
        more = f"{data[-1].topic}:{data[-1].key}" if len(data) == ROWS_MAX else None
        return ReceivedPage(data=data, after=more)

    @router.post("/resend")
    async def resend(request: Request, asked: Resend) -> SentAgain:
        """Put some of it back into the outbox, and say what is left.

        `until` is the last of it, after which newer events follow.
        """
        check(request, asked.to)
        if await is_outbox_full(database, SENT_ROWS_MAX) or sending.locked():
            raise refusals.SendsAlready
        await sending.acquire()
        try:
            topics = streams.names_to(asked.to)
            left = asked.left or await log_ends.sent_since(topics, asked.since)
            count, left_then = await log_ends.send_page(topics, left, SENT_ROWS_MAX)
            async with database.transaction() as transaction:
                [last] = await transaction.rows(_LAST_ROW, topics=topics)
        finally:
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, sending.release)
        log().warning("sent_again_to_a_restored", route=asked.to, count=count)
        return SentAgain(events=count, until=last.id, left=left_then)

    @router.get("/resend")
    async def is_waiting(request: Request, to: ServiceName, until: RowNumber) -> StillWaiting:
        """Whether any of it has not left yet."""
        check(request, to)
        async with database.transaction() as transaction:
            [row] = await transaction.rows(_WAITING, topics=streams.names_to(to), until=until)
        return StillWaiting(is_waiting=row.it_does)

    return router
