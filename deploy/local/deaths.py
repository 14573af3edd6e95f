"""How often a part may die, and how long it stays down: a pure rule."""

from dataclasses import dataclass, field
from typing import Final

WINDOW_SECONDS: Final = 60.0
DEATHS_ALLOWED: Final = 4
FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 5.0


@dataclass(slots=True)
class Deaths:
    """The recent deaths of one part."""

    at_seconds: list[float] = field(default_factory=list)

    def delay_after(self, now_seconds: float) -> float | None:
        """Notes a death; how long to wait before the next start, or None to give up."""
        recent = [at for at in self.at_seconds if now_seconds - at < WINDOW_SECONDS]
        self.at_seconds = [*recent, now_seconds]
        if len(self.at_seconds) > DEATHS_ALLOWED:
            return None
        return float(min(FIRST_DELAY_SECONDS * 2 ** len(recent), LONGEST_DELAY_SECONDS))
