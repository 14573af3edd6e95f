"""Pulls go on to the sector that recorded the packet; what it answers is passed on, unopened and unstored."""

from collections.abc import Mapping
from typing import Final

import httpx2

from schemas.events.pulls import PacketPull
from schemas.trail.bytes import TrailFault, json_object
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.sector.domain.refusals import FORWARDED

ANSWER_WITHIN_SECONDS: Final = 15.0
"""The trail may be asked three times, and a release may take five seconds."""


class OwnerSectors:
    """The internal ports of the other sectors."""

    def __init__(self, clients: Mapping[str, httpx2.AsyncClient]) -> None:
        self._clients = clients

    async def __call__(self, pull: PacketPull, sector: str) -> bytes:
        """The owner's answer to a pull, or its refusal."""
        client = self._clients.get(sector)
        if client is None:
            raise Unavailable("no address is known of that sector")
        content, headers = pull.model_dump_json(), {"content-type": "application/json"}
        try:
            response = await client.post("/v1/releases", content=content, headers=headers)
        except httpx2.TransportError as error:
            log().warning("sector_does_not_answer", peer=sector, error_class=type(error).__name__)
            raise Unavailable("the owner's sector does not answer") from None
        if response.status_code == httpx2.codes.OK:
            return response.content
        try:
            code = json_object(response.content).get("code")
        except TrailFault:
            code = None
        if refusal := FORWARDED.get(str(code)):
            raise refusal
        log().error("pull_not_forwarded", peer=sector, status=response.status_code)
        raise Unavailable("the owner's sector refuses this service")
