"""What every route needs: who asks, under which key, having seen what, and for which purpose."""

import asyncio
import hashlib
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse

from schemas.events.access import Actor
from schemas.events.consent import PURPOSES
from schemas.events.pulls import PacketPull
from schemas.ids import KINDS
from schemas.roles import WITHOUT_PURPOSE, Act, may
from schemas.wire.body import CODE_LIST
from services.runtime.admission import check_role
from services.runtime.crash import crash_point
from services.runtime.errors import Refused
from services.runtime.openapi import needed_header, refuses
from services.runtime.refusals import NO_ENTRY
from services.runtime.siblings import ALL, LOOK_SECONDS, Siblings
from services.runtime.tokens import Caller
from services.sector.domain import refusals
from services.sector.domain.closures import Task
from services.sector.domain.profile import Profile
from services.sector.domain.requests import Asker, Reply
from services.sector.handlers.closures import complete
from services.sector.handlers.looks import TrailGate
from services.sector.handlers.pulls import PacketGate
from services.sector.handlers.requests import KeyedRequest, answer_once, close_once, record_denial
from services.sector.handlers.work import OpenWork, Work

_KEY: Final = re.compile(r"[!-~]{1,255}")
_TAG: Final = r'(?:W/)?"[!#-~]*"'
_TAGS: Final = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_NUMBER: Final = re.compile(r'"(0|[1-9][0-9]{0,14})"')

_KEY_HEADER: Final = needed_header(
    "Idempotency-Key",
    "New for each new request; a repeat is answered as the first.",
    pattern=f"^{_KEY.pattern}$",
)
_SEEN_HEADER: Final = needed_header("If-Match", "The referral's ETag as last read.")
_PURPOSE_HEADER: Final = needed_header(
    "Concert-Purpose", "What the look is for; the trail records it.", **{CODE_LIST: sorted(PURPOSES)}
)

PAGE_USUAL: Final = 50
PageLimit = Annotated[int, Query(ge=1, le=200)]
CasePath = Annotated[str, Path(json_schema_extra={"pattern": KINDS["case"].pattern})]
ConsentPath = Annotated[str, Path(json_schema_extra={"pattern": KINDS["consent"].pattern})]
ReferralPath = Annotated[str, Path(json_schema_extra={"pattern": KINDS["referral"].pattern})]
"""Ids in a path; another form is answered like an unknown one."""


FEED_NEWS: Final = "feed"


class FeedNotifier:
    """Tells whoever waits for an agency's feed, here or in another process, that it has grown."""

    def __init__(self, siblings: Siblings | None = None) -> None:
        self._next: dict[str, asyncio.Event] = {}
        self._siblings = siblings
        if siblings:
            siblings.hear(FEED_NEWS, self._wake)

    @property
    def look_seconds(self) -> float:
        """After how long a reader looks by itself: another process's news may not have come."""
        return LOOK_SECONDS if self._siblings and self._siblings.are_there else math.inf

    def notify(self, agencies: Collection[str]) -> None:
        """Wake who waits for one of these feeds, and let the others do so."""
        self._wake(agencies)
        if self._siblings and agencies:
            self._siblings.tell(FEED_NEWS, agencies)

    def _wake(self, agencies: Collection[str]) -> None:
        for agency in [*self._next] if ALL in agencies else agencies:
            if growth := self._next.pop(agency, None):
                growth.set()

    def subscribe(self, agency: str) -> asyncio.Event:
        """What is set at the feed's next growth from now on."""
        return self._next.setdefault(agency, asyncio.Event())


ROOM_ALWAYS: Final = ("withdraw", "erase", "pull", "approve")
"""What protects her, or sends nothing, and is therefore never refused for what waits to be sent."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What the routes stand on; wiring says what each part is."""

    profile: Profile
    caller: Callable[[Request], Caller]
    open: OpenWork
    read: OpenWork
    """The same for what only reads."""
    show: TrailGate
    digest: Callable[[bytes], bytes]
    """Of what a request says, under a key that no database holds: else a short body could be guessed."""
    packets: PacketGate
    forward: Callable[[PacketPull, str], Awaitable[bytes]]
    """Hands a pull on to the sector that recorded the packet."""
    feeds: FeedNotifier
    has_room: Callable[[], bool] = lambda: True
    """Whether more may be asked for that must be sent."""


def asker_of(engine: Engine, act: Act) -> Callable[[Request], Awaitable[Asker]]:
    """A dependency: on whose behalf the request is made (async: a plain one would cost a thread)."""

    @refuses(*NO_ENTRY, *(() if act in WITHOUT_PURPOSE else (refusals.PurposeNotServed,)))
    async def asker(request: Request) -> Asker:
        caller = engine.caller(request)
        by = Asker(caller.agency, Actor(id=caller.staff, role=caller.role, client=caller.client))
        said = request.headers.get("Concert-Purpose")
        async with noting_denials(engine, by, None):
            check_role(caller.role, act)
            if act not in WITHOUT_PURPOSE and said in PURPOSES:
                check_act(engine, by, act, said)
        return by

    return asker


def check_act(engine: Engine, by: Asker, act: Act, said: str) -> None:
    """Refuse an act that is not the asker's role's, and a purpose that role or sector does not serve."""
    check_role(by.actor.role or "", act)
    if not may(by.actor.role or "", act, said, engine.profile.purposes):
        raise refusals.PurposeNotServed


def once_of(
    engine: Engine, act: Act, *, has_room_always: bool = False
) -> Callable[..., Awaitable[KeyedRequest]]:
    """A dependency: the request under its idempotency key."""
    has_room_always |= act in ROOM_ALWAYS

    @refuses(
        refusals.IdempotencyKeyMissing,
        refusals.IdempotencyMismatch,
        refusals.CaseErased,
        refusals.OutboxFull,
    )
    async def once(
        request: Request,
        by: Annotated[Asker, Depends(asker_of(engine, act))],
        key: Annotated[str | None, _KEY_HEADER] = None,
    ) -> KeyedRequest:
        if key is None or not _KEY.fullmatch(key):
            raise refusals.IdempotencyKeyMissing
        if not (has_room_always or engine.has_room()):
            raise refusals.OutboxFull
        said = request.url.path.encode() + b"\n" + await request.body()
        return KeyedRequest(by, hashlib.sha256(key.encode()).digest(), engine.digest(said))

    return once


def numbers_of(tags: str) -> frozenset[int] | None:
    """The numbers that a header of entity tags names (RFC 9110, §8.8.3, weak or not); None for `*`, any."""
    if tags.strip() == "*":
        return None
    if not _TAGS.fullmatch(tags.strip()):
        raise refusals.TagMalformed
    return frozenset(int(number) for number in _NUMBER.findall(tags))


@refuses(refusals.IfMatchMissing, refusals.StaleView, refusals.TagMalformed)
async def seen(if_match: Annotated[str | None, _SEEN_HEADER] = None) -> frozenset[int] | None:
    """A dependency: the numbers of the last fact that the sender may have seen; None for whichever."""
    if not if_match:
        raise refusals.IfMatchMissing
    return numbers_of(if_match)


@refuses(refusals.TagMalformed)
async def already_known(
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> frozenset[int] | None:
    """A dependency: the numbers of the last fact that the asker need not be shown; None for whichever."""
    return numbers_of(if_none_match) if if_none_match else frozenset()


@refuses(refusals.PurposeMissing, refusals.PurposeUnknown, refusals.CaseErased)
async def purpose(concert_purpose: Annotated[str | None, _PURPOSE_HEADER] = None) -> str:
    """A dependency: what a look is for."""
    if not concert_purpose:
        raise refusals.PurposeMissing
    if concert_purpose not in PURPOSES:
        raise refusals.PurposeUnknown
    return concert_purpose


async def answer(
    engine: Engine,
    once: KeyedRequest,
    act: Callable[[Work], Awaitable[Reply]],
    typed: str | None = None,
    *,
    protects_her: bool = False,
) -> JSONResponse:
    """Act within one transaction, and answer once it is committed."""
    async with noting_denials(engine, once.by, typed), engine.open() as work:
        reply = await answer_once(once, work, act, protects_her=protects_her)
    return JSONResponse(dict(reply.body), reply.status, headers=dict(reply.headers))


async def close_and_answer(
    engine: Engine,
    once: KeyedRequest,
    close: Callable[[Work], Awaitable[Task | None]],
    typed: str | None = None,
    *,
    protects_her: bool = False,
    otherwise: Callable[[Work], Awaitable[Reply]] | None = None,
) -> JSONResponse:
    """Close what no release may rest on any more, in a transaction of its own; then act on it, and answer.

    From the first commit on no release starts; one under way is waited for by what follows. `otherwise` is
    done where nothing was there to close.
    """
    async with noting_denials(engine, once.by, typed), engine.open() as work:
        task = await close_once(once, work, close, protects_her=protects_her)
    crash_point("closure.recorded")  # closed, and nobody was told; the ledger's sweeper does the rest

    async def act(work: Work) -> Reply:
        if task is not None:
            return await complete(task, work)
        if otherwise is None:  # this request was answered before, and its answer has gone meanwhile
            raise refusals.ClosureUnderWay
        return await otherwise(work)

    return await answer(engine, once, act, typed, protects_her=protects_her)


@asynccontextmanager
async def noting_denials(engine: Engine, by: Asker, typed: str | None) -> AsyncIterator[None]:
    """Tell the trail when somebody asks for what they may not, before they are told so."""
    try:
        yield
    except Refused as refused:
        if refused.status in (403, 404):
            named = typed if typed and looks_like("referral", typed) else None
            async with engine.open() as work:
                await record_denial(by, refused.code, named, work)
        raise


def looks_like(kind: str, typed: str) -> bool:
    """Whether a text looks like an id of that kind."""
    return re.fullmatch(KINDS[kind].pattern, typed) is not None
