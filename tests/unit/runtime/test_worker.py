"""Worker end early for news and for the order to stop, and for nothing that was known before."""

import asyncio

from services.runtime.worker import FIRST_SECONDS, MOST_SECONDS, Backoff, Worker

LONG_SECONDS = 3600.0


async def is_waiting(task: "asyncio.Task[None]") -> bool:
    """Whether a task still waits once it had its turn."""
    done, _ = await asyncio.wait({task}, timeout=0.01)
    return not done


async def test_news_cuts_a_pause_short() -> None:
    pauses = Worker()
    pausing = asyncio.create_task(pauses.pause(LONG_SECONDS))
    assert await is_waiting(pausing)

    pauses.wake()

    await pausing


async def test_what_was_known_before_does_not() -> None:
    pauses = Worker()
    pauses.wake()
    pauses.clear()

    pausing = asyncio.create_task(pauses.pause(LONG_SECONDS))

    assert await is_waiting(pausing)
    pauses.stop()
    await pausing


async def test_nobody_pauses_once_told_to_stop() -> None:
    pauses = Worker()
    pauses.stop()
    pauses.clear()

    await pauses.pause(LONG_SECONDS)

    assert pauses.is_stopping


def test_delays_double_up_to_a_limit_and_are_at_most_a_quarter_shorter() -> None:
    backoff = Backoff()

    for step in range(12):
        full = min(MOST_SECONDS, FIRST_SECONDS * 2**step)
        assert full * 0.75 <= backoff.next() <= full


def test_two_who_wait_do_not_come_back_together() -> None:
    assert len({Backoff().next() for _ in range(20)}) > 1


def test_after_success_the_shortest_comes_first_again() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.next()

    backoff.reset()

    assert backoff.next() <= FIRST_SECONDS
