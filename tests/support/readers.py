"""The real runtime around a handler that only remembers what was applied, how often and in which order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from schemas.topics import STEPS
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic
from services.runtime.metrics import DUPLICATES
from services.runtime.process import Parts, ServiceProcess, running
from services.runtime.settings import RuntimeSettings
from services.runtime.subscription import Subscription
from services.runtime.transaction import Transaction
from tests.support.platform import Space


class Gate:
    """Holds a handler once, inside its transaction, until the test lets it go."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self) -> None:
        """Wait here the first time."""
        self.reached.set()
        await self.opened.wait()


class Reader:
    """The arbiter's place in the group, over topics of steps; counts an event when it is committed."""

    def __init__(
        self,
        space: Space,
        gate: Gate | None = None,
        topics: Sequence[Topic] = tuple(STEPS.values()),
        writes: Sequence[Topic] = (),
    ) -> None:
        """With the topics that it writes it confirms what it has applied."""
        self._writes = writes
        self._space = space
        self._topics = tuple(topics)
        self._gate = gate
        self.applied: list[str] = []
        """Keys, in order; each as often as its event took effect."""

    def applied_of(self, keys: Sequence[str]) -> list[str]:
        """What was applied of these, in order; other tests of the module may have left more."""
        wanted = set(keys)
        return [key for key in self.applied if key in wanted]

    async def _take(self, events: Sequence[ReadEvent[Any]], work: Transaction) -> None:
        if self._gate:
            await self._gate.pass_through()
        keys = [event.key for event in events]
        work.after_commit.append(lambda: self.applied.extend(keys))

    def _wire(self, _runtime: Any, _settings: Any) -> Parts:
        return Parts(subscriptions=(Subscription(self._topics, self._take),), writes=self._writes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ServiceProcess]:
        """The reader as a process would run it."""
        settings = self._space.settings(RuntimeSettings, "referrals")
        async with running("referrals", settings, self._wire) as service:
            yield service


def alarms_of(service: ServiceProcess) -> list[tuple[str, str]]:
    """What a service's reader says that a person must look at: rules and places."""
    assert service.consumer
    return [(one.rule, one.where) for one in service.consumer.alarms()]


def duplicates_of(space: Space) -> float:
    """How many events the arbiter's group has dropped as seen before."""
    group = f"{space.namespace}referrals"
    found = [one for metric in DUPLICATES.collect() for one in metric.samples if one.name.endswith("_total")]
    return sum(one.value for one in found if one.labels["group"] == group)


def events_told(lines: Sequence[Any]) -> Callable[[str], bool]:
    """Whether the runtime's log has told something."""
    return lambda event: any(line["event"] == event for line in lines)
