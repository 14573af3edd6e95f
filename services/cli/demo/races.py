"""Acceptance and withdrawal at once: two requests on two connections, and how far apart they left."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

from services.cli.demo.book import Book
from services.cli.demo.clients import Client
from services.cli.demo.evidence import Race
from services.cli.demo.stories import ACCEPT, WITHDRAW, Move

LEFT: Final = "http11.send_request_headers.complete"
"""The client's own word that a request is on its way; it is measured, not promised."""
GAP_MS_MAX: Final = 5.0
HEAD_START_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Pair:
    """A referral whose two parties are about to disagree."""

    referral: str
    owner: Client
    receiver: Client


@dataclass
class Departure:
    """When a request left; more than once if it had to be sent again."""

    at_seconds: list[float] = field(default_factory=list)

    async def __call__(self, event: str, _about: Any) -> None:
        """Called by the client at each stage of a request."""
        if event == LEFT:
            self.at_seconds.append(time.monotonic())


async def run_pair(pair: Pair, book: Book, lacking: str) -> tuple[Race | None, str]:
    """Send both and wait for both answers; the order that came least often gets a small head start."""
    accepting, withdrawing = Departure(), Departure()
    accept_later = HEAD_START_SECONDS if lacking == "refused" else 0.0
    async with asyncio.TaskGroup() as group:
        accepted = group.create_task(_send(pair.receiver, pair, ACCEPT, accepting, accept_later))
        group.create_task(_send(pair.owner, pair, WITHDRAW, withdrawing, HEAD_START_SECONDS - accept_later))
    asked = accepted.result()
    answer = await book.answer(asked) if asked else None
    order = "accepted" if answer and answer.type == ACCEPT.fact else "refused"
    return _measured(pair, accepting, withdrawing), order


async def _send(client: Client, pair: Pair, move: Move, departure: Departure, later_seconds: float) -> Any:
    await asyncio.sleep(later_seconds)
    return await client.step(pair.referral, move.resource, move.body, move.fact, trace=departure)


def _measured(pair: Pair, one: Departure, other: Departure) -> Race | None:
    """The race, if both requests left once and close enough together to be one."""
    if len(one.at_seconds) != 1 or len(other.at_seconds) != 1:
        return None
    gap_ms = abs(one.at_seconds[0] - other.at_seconds[0]) * 1_000
    return Race(pair.referral, gap_ms) if gap_ms <= GAP_MS_MAX else None
