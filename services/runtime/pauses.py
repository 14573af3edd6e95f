"""Waiting between pieces of work, cut short by news of work or by the order to stop."""

import asyncio


class Pauses:
    """What relay and sweepers share: `wake` and `stop` from outside, `heed` and `pause` within the loop."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self.is_stopping = False

    def wake(self) -> None:
        """Tell that there is work: look now."""
        self._woken.set()

    def stop(self) -> None:
        """Finish the piece in hand, then leave."""
        self.is_stopping = True
        self._woken.set()

    def heed(self) -> None:
        """Only news from here on cuts the next pause short: call it before looking for work."""
        self._woken.clear()

    async def pause(self, seconds: float) -> None:
        """Wait so long at most; not at all once the order to stop has come."""
        if not seconds or self.is_stopping:
            return
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return
