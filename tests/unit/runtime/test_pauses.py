"""Pauses end early for news and for the order to stop, and for nothing that was known before."""

import asyncio

from services.runtime.pauses import Pauses

LONG_SECONDS = 3600.0


async def is_waiting(task: "asyncio.Task[None]") -> bool:
    """Whether a task still waits once it had its turn."""
    done, _ = await asyncio.wait({task}, timeout=0.01)
    return not done


async def test_news_cuts_a_pause_short() -> None:
    pauses = Pauses()
    pausing = asyncio.create_task(pauses.pause(LONG_SECONDS))
    assert await is_waiting(pausing)

    pauses.wake()

    await pausing


async def test_what_was_known_before_does_not() -> None:
    pauses = Pauses()
    pauses.wake()
    pauses.heed()

    pausing = asyncio.create_task(pauses.pause(LONG_SECONDS))

    assert await is_waiting(pausing)
    pauses.stop()
    await pausing


async def test_nobody_pauses_once_told_to_stop() -> None:
    pauses = Pauses()
    pauses.stop()
    pauses.heed()

    await pauses.pause(LONG_SECONDS)

    assert pauses.is_stopping
