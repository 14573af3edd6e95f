"""What a service sends, and what it listens to: a table of topics and the handlers of their events."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.wire.body import Body
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One event to be sent; its number, id and bytes are given when its row is written."""

    topic: Topic
    body: Body
    at: datetime
    caused_by: str | None = None
    id: str | None = None
    """Its id where the sender must know it before; else a new one."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics → handler; a handler takes a whole batch, in order within each key."""

    topics: tuple[Topic, ...]
    handler: Callable[[Sequence[ReadEvent[Any]], Any], Awaitable[None]]
    acts_across_gaps: frozenset[str] = frozenset()
    """Types that are acted on even while an earlier event of their key is missing: she withdrew."""
