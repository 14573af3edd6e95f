"""What a service listens to, as a table: topics, and the handler that takes a batch of their events."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from schemas.wire.body import Body
from schemas.wire.topic import Topic

B = TypeVar("B", bound=Body, covariant=True)


@dataclass(frozen=True, slots=True)
class Received(Generic[B]):
    """One event as a handler gets it: read, checked, opened, and new to this service."""

    id: str
    service: str
    """The writer: the last part of the event's source."""
    topic: Topic
    key: str
    sequence: int
    at: datetime
    """The true time of the event, not the outer one."""
    caused_by: str | None
    body: B


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics → handler; a handler takes a whole batch, in order within each key."""

    topics: tuple[Topic, ...]
    handler: Callable[[Sequence[Received[Any]], Any], Awaitable[None]]
    acts_across_gaps: frozenset[str] = frozenset()
    """Types that are acted on even while an earlier event of their key is missing: she withdrew."""
