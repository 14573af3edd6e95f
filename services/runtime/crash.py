"""Named places where a test may end the process as `kill -9` would."""

import os


def crash_point(name: str) -> None:
    """End the process here, without a word, if `CONCERT_CRASH_AT` names this place; else do nothing."""
    if os.environ.get("CONCERT_CRASH_AT") == name:  # read each time: services are forked, then get their own
        os._exit(137)
