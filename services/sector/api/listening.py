"""What shows nothing of a person: the thin events that a webhook would carry, and the service directory."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from services.runtime.openapi import refuses
from services.runtime.requests import draining_of
from services.sector.api.answers import DirectoryPage, Feed, SearchAnswer
from services.sector.api.asking import (
    PAGE_USUAL,
    Engine,
    PageLimit,
    answer,
    asker_of,
    looks_like,
    noting_denials,
    once_of,
)
from services.sector.domain.directory import ServiceSearch
from services.sector.domain.refusals import CursorUnreadable, TooManyWaiting
from services.sector.domain.requests import Asker
from services.sector.handlers.directory import search_services
from services.sector.handlers.requests import KeyedRequest, check_admitted

WAIT_SECONDS_MAX: Final = 25
POLLS_PER_AGENCY_MAX: Final = 16
"""How many requests of one agency may wait at a time; whoever needs more needs one reader of its own."""
LOOKS_MAX: Final = 2
"""How many waiting requests look at once, so that one commit leaves connections of the pool to the rest."""
EVENTS_MAX: Final = 200
POSITION_MAX: Final = 2**62


def listening_routes(engine: Engine) -> APIRouter:
    """The routes that need no permit."""
    router = APIRouter(prefix="/v1", tags=["listening"])
    asker = Depends(asker_of(engine, "listen"))
    waiting: Counter[str] = Counter()
    looks = asyncio.Semaphore(LOOKS_MAX)

    @router.get("/events", operation_id="list_events", response_model=Feed)
    @refuses(TooManyWaiting, CursorUnreadable)
    async def get_events(
        request: Request,
        by: Annotated[Asker, asker],
        after: Annotated[int, Query(ge=0, le=POSITION_MAX)] = 0,
        wait: Annotated[int, Query(ge=0, le=WAIT_SECONDS_MAX)] = 0,
    ) -> JSONResponse:
        """What happened to the agency's referrals behind a position; waits for it if asked to.

        Open to a suspended agency too: it learns here that a withdrawal waits for its seal.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        with counted_among(waiting, by.agency) if wait else nullcontext():
            is_admitted = False
            while True:
                growth = engine.feeds.subscribe(by.agency)  # before looking, so that no commit is missed
                async with looks, noting_denials(engine, by, None), engine.read() as work:
                    if not is_admitted:  # asked once: an agency stays in its sector
                        await check_admitted(by, work, though_suspended=True)
                        is_admitted = True
                    told = await work.views.feed(by.agency, after, EVENTS_MAX)
                    if told is None:
                        raise CursorUnreadable  # else all up to there would be lost in silence
                left = until - loop.time()
                if told or left <= 0 or draining_of(request).is_set() or await request.is_disconnected():
                    break
                await _wait(growth, request, min(left, engine.feeds.look_seconds))
        rows = [event.model_dump(mode="json", exclude_defaults=True) for event in told]
        return JSONResponse({"data": rows, "next": told[-1].position if told else after})

    @router.get("/services", operation_id="list_services", response_model=DirectoryPage)
    @refuses(CursorUnreadable)
    async def get_services(
        by: Annotated[Asker, asker],
        limit: PageLimit = PAGE_USUAL,
        after: str = "",
    ) -> JSONResponse:
        """The service directory, with the agency that answers where its organisation is admitted."""
        if after and not looks_like("service", after):
            raise CursorUnreadable
        async with noting_denials(engine, by, None), engine.read() as work:
            await check_admitted(by, work)
            entries = await work.register.entries(after, limit + 1)
        following = entries[limit - 1].service if len(entries) > limit else None
        rows = [entry.model_dump(mode="json") for entry in entries[:limit]]
        return JSONResponse({"data": rows, "next": following})

    @router.post("/service-searches", operation_id="search_services", response_model=SearchAnswer)
    async def post_search(
        once: Annotated[KeyedRequest, Depends(once_of(engine, "listen"))], body: ServiceSearch
    ) -> JSONResponse:
        """Search the directory by codes; a need for which nothing is found, or no help, is counted."""
        return await answer(engine, once, lambda work: search_services(body, once.by, work))

    return router


@contextmanager
def counted_among(waiting: Counter[str], agency: str) -> Iterator[None]:
    """Counted as one of an agency's waiting requests; raises TooManyWaiting when it may have no more."""
    if waiting[agency] >= POLLS_PER_AGENCY_MAX:
        raise TooManyWaiting
    waiting[agency] += 1
    try:
        yield
    finally:
        waiting[agency] -= 1


async def _departure(request: Request) -> None:
    """Returns when the client has gone: nobody waits on its behalf any more."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _wait(growth: asyncio.Event, request: Request, seconds: float) -> None:
    ways = (growth.wait(), _departure(request), draining_of(request).wait())
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[Any]] = [group.create_task(way) for way in ways]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
