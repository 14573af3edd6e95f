"""What the agencies know together: facts that they were told, steps that wait for one, their looks."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.cli.demo.evidence import Asked, Played, Read

Pair = tuple[str, str]
REFUSED = "referral.step_refused"


@dataclass(frozen=True, slots=True)
class Heard:
    """One thin event of an agency's feed."""

    type: str
    number: int
    state: str | None
    code: str | None
    step: str | None


class Book:
    """Kept by the demo's clients; nothing in it comes from inside the services."""

    def __init__(self) -> None:
        self.played: list[Played] = []
        self.asked: list[Asked] = []
        self.reads: list[Read] = []
        self.unanswered: dict[str, Asked] = {}
        self.on_unanswered: Callable[[int], None] | None = None
        """Called with the number of unanswered steps whenever it grew."""
        self._heard: dict[Pair, list[Heard]] = defaultdict(list)
        self._news: dict[Pair, asyncio.Event] = defaultdict(asyncio.Event)

    def heard(self, referral: str, agency: str) -> Sequence[Heard]:
        """What an agency was told of a referral so far."""
        return self._heard[referral, agency]

    def number(self, referral: str, agency: str) -> int:
        """The number of the last fact that it was told."""
        heard = self._heard[referral, agency]
        return heard[-1].number if heard else 0

    def hear(self, referral: str, agency: str, event: Heard) -> None:
        """An agency's feed brought an event."""
        pair = referral, agency
        self._heard[pair].append(event)
        for asked in [each for each in self.unanswered.values() if (each.referral, each.agency) == pair]:
            if _answers(event, asked):
                del self.unanswered[asked.id]
        self._news.pop(pair, asyncio.Event()).set()

    def ask(self, asked: Asked) -> None:
        """A step was answered 202; it waits for its fact, unless that came first."""
        self.asked.append(asked)
        if not any(_answers(event, asked) for event in self._heard[asked.referral, asked.agency]):
            self.unanswered[asked.id] = asked
            if self.on_unanswered:
                self.on_unanswered(len(self.unanswered))

    async def until(self, referral: str, agency: str, holds: Callable[[Heard], bool]) -> Heard:
        """Wait until an agency is told something of a referral."""
        while True:
            news = self._news[referral, agency]
            for event in self._heard[referral, agency]:
                if holds(event):
                    return event
            await news.wait()

    async def answer(self, asked: Asked) -> Heard:
        """Wait for the fact or the refusal that answers a step."""
        return await self.until(asked.referral, asked.agency, lambda event: _answers(event, asked))

    async def told(self, referral: str, agency: str, fact: str) -> Heard:
        """Wait until an agency is told a fact."""
        return await self.until(referral, agency, lambda event: event.type == fact)


def _answers(event: Heard, asked: Asked) -> bool:
    return event.type == asked.fact or (event.type == REFUSED and event.step == asked.id)
