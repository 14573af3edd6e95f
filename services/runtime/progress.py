"""Whether a reader gets on: looked at every few seconds, told as alarms; pure, for time is given to it."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from services.runtime.alarms import Alarm
from services.runtime.offsets import Partition

WAITS_FOR: Final = timedelta(seconds=30)
"""After so long without a look at brokers and database, one of them is away, or a batch does not end."""
STUCK_FOR: Final = timedelta(seconds=60)


class ReaderProgress:
    """When a reader last saw brokers and database, and since when each partition lags without moving."""

    def __init__(self, group: str, at: datetime) -> None:
        self._group = group
        self._looked_at = at
        self._behind: dict[Partition, tuple[int, datetime]] = {}

    def look(self, positions: Mapping[Partition, int], ends: Mapping[Partition, int], at: datetime) -> None:
        """Take down where the reader and the logs are; partitions that are to stand still are left out."""
        self._looked_at = at
        lagging = {one: place for one, place in positions.items() if place < ends.get(one, 0)}
        before = self._behind
        self._behind = {
            one: before[one] if one in before and before[one][0] == place else (place, at)
            for one, place in lagging.items()
        }

    def look_age(self, at: datetime) -> float:
        """How many seconds ago it last saw both."""
        return max(0.0, (at - self._looked_at).total_seconds())

    def alarms(self, at: datetime) -> Iterator[Alarm]:
        """What does not get on."""
        if at - self._looked_at >= WAITS_FOR:
            yield Alarm("reader_waits", self._group, self._looked_at)
        for (topic, part), (place, since) in self._behind.items():
            if at - since >= STUCK_FOR:
                yield Alarm("reader_stuck", f"{topic}/{part}: {place}", since)
