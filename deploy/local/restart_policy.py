"""How long a part that died stays down, and when it counts as failing: a pure rule."""

from dataclasses import dataclass
from typing import Final

LIVED_LONG_SECONDS: Final = 60.0
"""Whoever was ready for so long has a clean slate."""
FAILING_FROM: Final = 5
FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 60.0
DOUBLED_TIMES_MAX: Final = 10


@dataclass(slots=True)
class RestartPolicy:
    """What follows from the deaths of one part since it last lived long."""

    deaths: int = 0

    @property
    def is_failing(self) -> bool:
        """Whether the part must be taken for one that cannot live."""
        return self.deaths >= FAILING_FROM

    def next_delay(self) -> float:
        """Notes a death; how long to wait before the next start."""
        doubled = 2.0 ** min(self.deaths, DOUBLED_TIMES_MAX)
        self.deaths += 1
        return min(FIRST_DELAY_SECONDS * doubled, LONGEST_DELAY_SECONDS)
