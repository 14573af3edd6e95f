"""What an installation chose, and what an act may count."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from schemas.events.governance_keys import GovernanceKeys
from services.governance.domain.areas import Areas
from services.governance.domain.figures import Figure, Indicator

UTC: Final = ZoneInfo("UTC")


class FiguresUnread(Exception):
    """The act needs the exact counts of a month: whoever performs it reads them, and performs it again."""

    def __init__(self, month: str) -> None:
        super().__init__(month)
        self.month = month


@dataclass(frozen=True, slots=True)
class Rules:
    """What an installation chose: areas, whose signatures count, how long a protocol waits, time zone."""

    areas: Areas
    keys: GovernanceKeys
    delay: timedelta
    zone: ZoneInfo = UTC
    freeze: timedelta = timedelta(days=14)
    """How long after its end a month may be released."""
    indicators: tuple[Indicator, ...] = ()
    """What releases show."""
    figures: Sequence[Figure] | None = None
    """The exact counts of the month that an act is about, where they were read for it."""

    def figures_of(self, month: str) -> Sequence[Figure]:
        """The exact counts of a month; raises FiguresUnread."""
        if self.figures is None:
            raise FiguresUnread(month)
        return self.figures
