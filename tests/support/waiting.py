"""Waiting for a condition, with a deadline, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

POLL_SECONDS = 0.02


async def until(condition: Callable[[], Any], within_seconds: float = 30.0) -> Any:
    """Wait until the condition holds and give what it returned; fails after the deadline."""
    ends_at = time.monotonic() + within_seconds
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        assert time.monotonic() < ends_at, f"did not come true within {within_seconds:g} s"
        await asyncio.sleep(POLL_SECONDS)
