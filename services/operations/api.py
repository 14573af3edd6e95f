"""What the operator's command is shown: streams and parts as the last look found them."""

from collections.abc import Callable

from fastapi import APIRouter

from services.operations.domain.streams import PartsStanding, StreamsStanding


def sight_routes(streams: Callable[[], StreamsStanding], parts: Callable[[], PartsStanding]) -> APIRouter:
    """Answers from memory, so that whoever asks waits for nobody."""
    router = APIRouter(prefix="/v1")

    @router.get("/streams")
    async def show_streams() -> StreamsStanding:
        """Every group and outbox; null is what nobody knows."""
        return streams()

    @router.get("/parts")
    async def show_parts() -> PartsStanding:
        """Every process, the brokers' disk and the trail."""
        return parts()

    return router
