"""Waiting between pieces of work: until news or the order to stop, or longer and longer after failures."""

import asyncio
import secrets
from contextlib import suppress
from typing import Final

FIRST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 5.0


class Worker:
    """What consumer, relay and sweepers share: `wake` and `stop` from outside, `clear` and `pause` within."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._alarm_clock: asyncio.TimerHandle | None = None
        self.is_stopping = False

    async def run(self) -> None:
        """Work until stopped."""
        raise NotImplementedError

    def wake(self) -> None:
        """Tell that there is work: look now."""
        self._woken.set()

    def wake_within(self, seconds: float) -> None:
        """Tell that there is work which may wait so long for more of it."""
        if not seconds:
            self.wake()
        elif self._alarm_clock is None:
            self._alarm_clock = asyncio.get_running_loop().call_later(seconds, self.wake)

    def stop(self) -> None:
        """Finish the piece in hand, then leave."""
        self.is_stopping = True
        self._woken.set()

    def clear(self) -> None:
        """Only news from here on cuts the next pause short: call it before looking for work."""
        self._woken.clear()
        if self._alarm_clock:
            self._alarm_clock.cancel()
            self._alarm_clock = None

    async def pause(self, seconds: float) -> None:
        """Wait so long at most; not at all once the order to stop has come."""
        if not seconds or self.is_stopping:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)


class Backoff:
    """Delays that double from a tenth of a second to five seconds, each up to a quarter shorter."""

    def __init__(self) -> None:
        self._seconds = FIRST_SECONDS

    def next(self) -> float:
        """The next delay in seconds."""
        delay = self._seconds * (1 - secrets.randbelow(250) / 1000)
        self._seconds = min(MOST_SECONDS, self._seconds * 2)
        return delay

    def reset(self) -> None:
        """Begin again with the shortest delay."""
        self._seconds = FIRST_SECONDS
