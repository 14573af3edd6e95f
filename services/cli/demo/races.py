"""Acceptance and withdrawal at once: two requests on two connections, and how far apart they left."""

import asyncio
import time
from typing import Any, Final

from services.cli.agency_client import ACCEPT, WITHDRAW, AgencyClient, AgencyStep, SentStep

LEFT: Final = "http11.send_request_headers.complete"
"""The client's own word that a request is on its way; it is measured, not promised."""
GAP_MS_MAX: Final = 5.0
HEAD_START_SECONDS: Final = 0.001


async def race(
    referral: str, owner: AgencyClient, receiver: AgencyClient, lacking: str
) -> tuple[float | None, str]:
    """Send both and wait for the acceptance's answer: how far apart they left, and what became of it.

    The order that came least often gets a small head start. No gap is told where the requests did not leave
    once each, close enough together to be a race.
    """
    accept_later = HEAD_START_SECONDS if lacking == "refused" else 0.0
    async with asyncio.TaskGroup() as group:
        accepting = group.create_task(_send(receiver, referral, ACCEPT, accept_later))
        withdrawing = group.create_task(_send(owner, referral, WITHDRAW, HEAD_START_SECONDS - accept_later))
    sent, left = accepting.result()
    answer = await receiver.answer(sent) if sent else None
    order = "accepted" if answer and answer.type == ACCEPT.fact else "refused"
    departures = (*left, *withdrawing.result()[1])
    gap_ms = (max(departures) - min(departures)) * 1_000
    return (gap_ms if len(departures) == 2 and gap_ms <= GAP_MS_MAX else None), order


async def _send(
    client: AgencyClient, referral: str, step: AgencyStep, later_seconds: float
) -> tuple[SentStep | None, list[float]]:
    """The step, and when it left; more than once if it had to be sent again."""
    departures: list[float] = []

    async def trace(event: str, _about: Any) -> None:
        if event == LEFT:
            departures.append(time.monotonic())

    await asyncio.sleep(later_seconds)
    return await client.step(referral, step, trace=trace), departures
