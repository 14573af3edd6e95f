"""What a service listens to, as a table: topics, and the handler that takes a batch of their events."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics → handler; a handler takes a whole batch, in order within each key."""

    topics: tuple[Topic, ...]
    handler: Callable[[Sequence[ReadEvent[Any]], Any], Awaitable[None]]
    acts_across_gaps: frozenset[str] = frozenset()
    """Types that are acted on even while an earlier event of their key is missing: she withdrew."""
