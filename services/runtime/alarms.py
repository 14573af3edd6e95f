"""What a person must look at, while the service goes on: which rule fired, where, and since when."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Alarm:
    """One rule that fires now; it ends when its source no longer tells it."""

    rule: str
    """A code, such as `partition_stopped`."""
    where: str
    """A topic and partition, a shard, an index: our own names, never a value from outside."""
    since: datetime


AlarmSource = Callable[[], Iterable[Alarm]]
"""Asked at each probe and scrape; answers from memory, without waiting."""
