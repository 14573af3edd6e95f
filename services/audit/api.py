"""The trail's interface for other services, on the internal port, and the published static layout."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from schemas.events import access
from schemas.trail.tiles import ENTRIES, Tile, bundle, tile_at
from schemas.trail.tree import HASH_BYTES
from schemas.wire.exact_bytes import Bytes16
from services.audit import handlers
from services.audit.domain.refusals import TrailClosed
from services.runtime.errors import NotFound, Refused
from services.runtime.problems import ProblemResponse, refusal
from services.runtime.web import caller_of, create_app

REQUEST_BYTES_MAX: Final = 1024 * 1024
_IMMUTABLE: Final = {"cache-control": "public, max-age=604800, immutable"}
_SHORT_LIVED: Final = {"cache-control": "public, max-age=2"}


async def _caller(request: Request) -> str:
    """The service that asks (async: a plain dependency would cost a thread)."""
    return caller_of(request)


Caller = Annotated[str, Depends(_caller)]
LogWord = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class OpeningsRequest(BaseModel):
    """`POST /v1/openings`: the details of the first entries, for an export."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    idem: Bytes16
    purpose: access.Code
    size: access.Whole
    log: access.Origin | None = None
    """An earlier log of this trail."""


def audit_app(work: handlers.Work) -> FastAPI:
    """The application of the internal port."""
    app = create_app("audit", caller_of, bytes_max=REQUEST_BYTES_MAX)
    app.add_exception_handler(TrailClosed, _closed)
    app.include_router(trail_routes(work))
    app.include_router(log_routes(work))
    return app


def trail_routes(work: handlers.Work) -> APIRouter:
    """What other services ask and report."""
    router = APIRouter(prefix="/v1")

    @router.post("/permits", status_code=201)
    async def permits(body: access.PermitRequest, caller: Caller) -> access.PermitAnswer:
        """Record an intent, durably, and answer with the permit."""
        return await handlers.ask_permit(body, caller, work)

    @router.post("/outcomes")
    async def outcomes(body: access.OutcomeReports, caller: Caller) -> dict[str, Any]:
        """Record what came of intents."""
        return _results(await handlers.report_outcomes(body.outcomes, caller, work))

    @router.post("/events")
    async def events(body: access.EventReports, caller: Caller) -> dict[str, Any]:
        """Record what was done and needed no permit."""
        return _results(await handlers.report_events(body.events, caller, work))

    @router.post("/subjects")
    async def subjects(body: access.SubjectKeys, caller: Caller) -> dict[str, Any]:
        """Register subjects and the keys of their tags."""
        return _results(await handlers.register_subjects(body.subjects, caller, work))

    @router.post("/proofs")
    async def proofs(body: access.ProofRequest, caller: Caller) -> access.PublishedProofs:
        """Proofs that entries were published: public facts, for a vault to settle what it opened upon."""
        return work.appender.prove_published(body.indexes)

    @router.get("/closures")
    async def closures(
        caller: Caller, start: Annotated[int, Query(alias="from", ge=0, lt=2**53)] = 0
    ) -> access.ToldClosures:
        """What the caller told of its ledger, for a copy of its database that is older."""
        told, after = await handlers.closures_told(start, caller, work)
        return access.ToldClosures(closures=tuple(told), after=after)

    @router.post("/erasures")
    async def erasures(body: access.SubjectErasures, caller: Caller) -> dict[str, Any]:
        """Destroy the keys of subjects."""
        return _results(await handlers.erase_subjects(body.erasures, caller, work))

    @router.post("/openings")
    async def openings(body: OpeningsRequest, caller: Caller) -> StreamingResponse:
        """Open entries for the operator's export; recorded before the first one is sent."""
        lines = await handlers.open_entries(body.idem, body.purpose, body.size, caller, work, body.log)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return router


def log_routes(work: handlers.Work) -> APIRouter:
    """The static layout: checkpoint, tiles, entry bundles; only what the signed size covers.

    A log that another one follows stays where it was.
    """
    host = work.writer.origin.partition("/")[0]
    router = APIRouter(prefix="/log/{jurisdiction}/{year}")

    @router.get("/checkpoint")
    async def checkpoint(jurisdiction: LogWord, year: LogWord) -> Response:
        """The newest signed head."""
        async with work.open_store(log=f"{host}/{jurisdiction}/{year}") as store:
            newest = await store.newest_checkpoint()
        if newest is None:
            raise NotFound
        return Response(newest.note, media_type="text/plain; charset=utf-8", headers=_SHORT_LIVED)

    @router.get("/tile/{path:path}")
    async def tile(jurisdiction: LogWord, year: LogWord, path: str) -> Response:
        """A tile of hashes or a bundle of entries; it never changes."""
        asked = tile_at(f"tile/{path}")
        async with work.open_store(log=f"{host}/{jurisdiction}/{year}") as store:
            newest = await store.newest_checkpoint()
            if asked is None or newest is None or not asked.is_within(newest.size):
                raise NotFound
            content = await _content(asked, store)
        return Response(content, media_type="application/octet-stream", headers=_IMMUTABLE)

    return router


async def _content(asked: Tile, store: handlers.Store) -> bytes:
    if asked.level == ENTRIES:
        return bundle(await store.leaves(asked.first, asked.first + asked.width))
    tiles = await store.tiles(asked.level, asked.number, asked.number + 1)
    return b"".join(tiles)[: asked.width * HASH_BYTES]


def _results(results: Sequence[handlers.Result | str]) -> dict[str, Any]:
    return {"results": [_one(result) for result in results]}


def _one(result: handlers.Result | str) -> dict[str, Any]:
    if isinstance(result, str):
        return {"id": result}
    if not isinstance(result, Refused):
        return result.plain()
    problem = {"status": result.status, "code": result.code, "detail": result.sentence}
    places = getattr(result, "errors", None)
    return {"problem": problem | ({"pointer": places[0]["pointer"]} if places else {})}


async def _closed(_request: Request, closed: Any) -> ProblemResponse:
    return refusal(closed, detail=f"{closed.sentence}; reason: {closed.reason}")
