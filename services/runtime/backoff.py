"""Waiting longer and longer, with jitter, for something that does not answer."""

import secrets
from typing import Final

FIRST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 5.0


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
