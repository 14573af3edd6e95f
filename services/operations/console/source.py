"""What the pages are filled from: the last look at streams and parts, services' letters, and plans."""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from services.operations.acts_api import READERS
from services.operations.console.entry import operator_in
from services.operations.console.figures import LetterFigures, LettersFigures, OneLetter, PlanFigures
from services.operations.domain.plans import shown
from services.operations.domain.streams import PartsStanding, StreamsStanding
from services.operations.doors import ServiceDoors
from services.operations.plans import Plans
from services.runtime.clock import Clock
from services.runtime.consoles.console import ConsoleEntry
from services.runtime.errors import Unavailable, define_refusal

LETTERS_KEPT_SECONDS: Final = 1.0
"""However many look, every reader's database counts its letters no more often than this."""
CHOSEN: Final = ("code", "topic", "type", "id")
_REASON: Final = re.compile(r"[ -~]{1,200}")
_COUNT: Final = re.compile(r"[0-9]{1,9}")

ReasonUnusable: Final = define_refusal(
    __name__, "reason_unusable", "say why in 1 to 200 unaccented letters, digits and signs of ASCII", 422
)
CountUnreadable: Final = define_refusal(
    __name__, "count_unreadable", "type the number of letters in digits from 0 to 9", 422
)


class InstallationSource:
    """The pages' source in an installation; what people say goes the way that the command's words go."""

    def __init__(
        self,
        streams: Callable[[], StreamsStanding],
        parts: Callable[[], PartsStanding],
        plans: Plans,
        doors: ServiceDoors,
        clock: Clock,
    ) -> None:
        self._streams = streams
        self._parts = parts
        self._plans = plans
        self._doors = doors
        self._clock = clock
        self._one_asks = asyncio.Lock()
        self._told: LettersFigures | None = None
        self._asked_again_at = 0.0

    async def streams(self) -> StreamsStanding:
        """The last look at streams, and what the probe found."""
        return self._streams()

    async def parts(self) -> PartsStanding:
        """The last look at parts."""
        return self._parts()

    async def letters(self, at: datetime) -> LettersFigures:
        """What every reader said a moment ago that it has; who did not answer is named."""
        async with self._one_asks:
            running = asyncio.get_running_loop().time
            if self._told is None or running() >= self._asked_again_at:
                self._told = await self._counted(at)
                self._asked_again_at = running() + LETTERS_KEPT_SECONDS
            return self._told

    async def _counted(self, at: datetime) -> LettersFigures:
        rows, silent = await self._doors.read_all(READERS, "/v1/dead-letters")
        letters, unsound = list[LetterFigures](), set(silent)
        for row in rows:
            try:
                letters.append(LetterFigures.model_validate(row))
            except ValidationError:  # costs the rows of the service that told it, and no other's
                unsound.add(row["service"])
        found = [one for one in letters if one.service not in unsound]
        return LettersFigures(as_of=at, silent=tuple(sorted(unsound)), letters=tuple(found))

    async def letter(self, service: str, name: str) -> OneLetter:
        """One letter, as its service tells it."""
        try:
            return OneLetter.model_validate(await self._doors.read(service, f"/v1/dead-letters/{name}"))
        except ValidationError:
            raise Unavailable("a service's answer cannot be read") from None

    async def propose(self, who: ConsoleEntry, asked: Mapping[str, str]) -> str:
        """Try an act without effect and keep it as a plan."""
        chosen = {name: asked[name] for name in CHOSEN if asked.get(name)}
        act, service = asked.get("act", ""), asked.get("service", "")
        return (await self._plans.make(operator_in(who), act, service, chosen)).id

    async def plan(self, who: ConsoleEntry, name: str) -> PlanFigures:
        """A plan as it stands."""
        plan = await self._plans.show(name)
        told = {**shown(plan, self._clock.now()), "is_first": plan.made_by == who.person}
        return PlanFigures.model_validate(told)

    async def say(self, who: ConsoleEntry, name: str, word: str, given: Mapping[str, str]) -> None:
        """Say something to a plan."""
        actor = operator_in(who)
        if word == "confirmation":
            if not _REASON.fullmatch(given["reason"]):
                raise ReasonUnusable
            if not _COUNT.fullmatch(given["count"]):
                raise CountUnreadable
            await self._plans.confirm(actor, name, given["reason"], int(given["count"]))
            return
        await self._plans.words[word](actor, name)
