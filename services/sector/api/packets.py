"""What she told an agency: each field group is written by a PUT, and read by a pull alone."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from schemas.events.packet import GROUP_MODELS, PacketPart
from schemas.events.pulls import PacketPull, PullAnswer
from schemas.topics import SECTORS
from schemas.wire.topic import source_of
from services.runtime.errors import NotFound, Refused
from services.runtime.logs import log
from services.runtime.openapi import refuses
from services.runtime.requests import Receive, Scope, Send
from services.runtime.web import caller_of, create_app
from services.sector.api import asking
from services.sector.api.answers import REPLAYED, GroupReceipt
from services.sector.domain import refusals
from services.sector.domain.bodies import PullRequest
from services.sector.domain.requests import Reply
from services.sector.handlers.packets import write_group
from services.sector.handlers.pulls import HandOver, PacketGate, asked_pull
from services.sector.handlers.requests import KeyedRequest, answer_once
from services.sector.handlers.work import OpenWork, Work


class HandedOver(Response):
    """An answer that is given while the transaction that releases it is still open."""

    def __init__(self, release: Callable[[HandOver], Awaitable[None]]) -> None:
        super().__init__(media_type="application/json")
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Release; whatever is refused before the first byte is answered as anywhere.

        What its reader takes too slowly is cut: none of it may leave once the transaction is over.
        """
        transport = scope.get("extensions", {}).get("transport")
        has_begun = False

        async def give(content: bytes) -> None:
            nonlocal has_begun
            has_begun = True
            if transport:
                # From here on `send` waits until all has left; under TLS a limit of 0 would pause for ever.
                transport.set_write_buffer_limits(1 if transport.get_extra_info("sslcontext") else 0, 0)
            length = str(len(content)).encode("ascii")
            headers = [(b"content-type", b"application/json"), (b"content-length", length)]
            try:
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": content, "more_body": True})
                await send({"type": "http.response.body"})  # waits for what stands before it
            except BaseException:
                if transport:
                    transport.abort()
                raise

        try:
            await self._release(give)
        except Refused as refused:
            if not has_begun:
                raise
            log().warning(
                "release_cut", error_code=refused.code
            )  # to its reader nothing can be told any more


def packet_routes(engine: asking.Engine) -> APIRouter:
    """A route to write each field group, and one to pull them."""
    router = APIRouter(prefix="/v1", tags=["packets"])
    keyed = Depends(asking.once_of(engine, "ask"))
    for group, model in GROUP_MODELS.items():
        _add_group(router, engine, group, model, keyed)
    puller = Depends(asking.once_of(engine, "pull"))

    @router.post("/referrals/{referral}/packet-pulls", operation_id="pull_packet", response_model=PullAnswer)
    @refuses(refusals.KeyRecordMissing, *refusals.FORWARDED.values())
    async def pull_packet(
        referral: asking.ReferralPath, once: Annotated[KeyedRequest, puller], body: PullRequest
    ) -> Response:
        """Pull field groups, sealed to a key of the agency; a repeat is a new look under a new permit."""
        async with asking.noting_denials(engine, once.by, referral), engine.open() as work:
            asking.check_act(engine, once.by, "break_glass" if body.approval else "pull", body.purpose)
            await answer_once(once, work, _remember)  # another request under this key is refused
            pull, sector = await asked_pull(referral, body, once.by, work)
        if sector != engine.profile.name:
            return Response(await engine.forward(pull, sector), media_type="application/json")
        return await _released(engine.packets, pull)

    return router


def release_app(packets: PacketGate, open_read: OpenWork, cell: str, title: str) -> FastAPI:
    """The internal port: what other sectors ask for their agencies."""
    app = create_app(title, caller_of)
    sectors = {source_of(cell, sector): sector for sector in SECTORS}

    @app.post("/v1/releases")
    async def post_release(request: Request, pull: PacketPull) -> Response:
        """Release to an agency of the sector that asks."""
        async with open_read() as work:
            standing = (await work.register.standings({pull.recipient})).get(pull.recipient)
        peer = sectors.get(caller_of(request), "none")
        if standing is None or peer != standing.sector:
            # Its certificate is sound, so somebody has it who should not: no agency is to blame in the trail.
            log().error("release_not_theirs", peer=peer, error_code=refusals.SectorsOnly.code)
            raise refusals.SectorsOnly
        return await _released(packets, pull)

    return app


async def _released(packets: PacketGate, pull: PacketPull) -> Response:
    return HandedOver(partial(packets.release, await packets.permit(pull)))


async def _remember(_work: Work) -> Reply:
    """That a pull was asked for under this key, and not what it was answered."""
    return Reply(200, {}, {})


def _add_group(
    router: APIRouter, engine: asking.Engine, group: str, model: type[PacketPart], keyed: Any
) -> None:
    content: Any = model

    @refuses(NotFound, refusals.IntakeMissing, refusals.TooManyVersions)
    async def put_group(
        case: asking.CasePath, once: Annotated[KeyedRequest, keyed], body: content
    ) -> JSONResponse:
        return await asking.answer(engine, once, lambda work: write_group(group, body, case, once.by, work))

    router.add_api_route(
        f"/cases/{{case}}/packet/{group}",
        put_group,
        methods=["PUT"],
        operation_id=f"write_{group}",
        summary=model.__doc__,
        response_model=GroupReceipt,
        responses={200: {"headers": REPLAYED}},
    )
