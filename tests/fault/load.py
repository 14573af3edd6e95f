"""A seeded load: agencies that make and answer referrals over HTTP, and the history of what they asked."""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from services.cli import agency_client
from services.cli.agency_client import (
    ACKNOWLEDGE,
    FEEDBACK,
    REFUSED,
    SEAL,
    WITHDRAW,
    AgencyAccount,
    AgencyClient,
    AgencyStep,
    UnexpectedAnswer,
)
from services.cli.demo.checks import PlayedReferral
from services.cli.demo.play import STORIES, all_told, take
from services.runtime.token_client import TokenClient

INVOKE, OK, FAIL, INFO = "invoke", "ok", "fail", "info"
PATIENCE_SECONDS: Final = 600.0
"""An agency's system asks on through every fault of a run; the run itself has the limits."""
AGAIN_SECONDS: Final = 0.5
WALKS: Final[Mapping[str, tuple[str, tuple[AgencyStep, ...]]]] = {
    story.name: (story.ends, story.steps)
    for story in STORIES
    if story.steps and not (story.waits_for or story.is_race or story.goes_on)
} | {"withdrawn while offered": ("sealed", (ACKNOWLEDGE, WITHDRAW, SEAL))}


class History:
    """One JSON line for each request and each answer, in the order in which they happened."""

    def __init__(self, file: Path) -> None:
        self._lines = file.open("w", encoding="utf-8", buffering=1)
        self.entries: list[dict[str, Any]] = []

    def note(self, kind: str, key: str, agency: str, **more: Any) -> None:
        entry = {"at": round(time.monotonic(), 4), "kind": kind, "key": key, "agency": agency, **more}
        self.entries.append(entry)
        self._lines.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        self._lines.close()


class DrivenAgency(AgencyClient):
    """An agency's system whose steps stand in the history; what nobody answers is asked again by its key."""

    def __init__(self, agency: AgencyAccount, url: str, issuer: TokenClient, history: History) -> None:
        super().__init__(agency, url, issuer)
        self._history = history

    async def request(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        """One request; what makes or moves a referral is told to the history."""
        if method != "POST" or not path.startswith("/v1/referrals"):
            return await super().request(method, path, body, **more)
        key, who = more["headers"]["Idempotency-Key"], self.agency.id
        self._history.note(INVOKE, key, who, path=path)
        try:
            answer = await super().request(method, path, body, **more)
        except httpx2.TransportError as error:
            self._history.note(INFO, key, who, error=type(error).__name__)
            raise
        status = answer.status_code
        step = {"step": answer.json()["step"]} if answer.is_success else {}
        kind = OK if step else INFO if status in agency_client.AGAIN else FAIL
        self._history.note(kind, key, who, status=status, **step)
        return answer


@dataclass
class Load:
    """Cases, one after the other and so many beside each other, until it is stopped."""

    clients: Sequence[DrivenAgency]
    seed: int
    beside: int
    cases_max: int = 1_000_000
    played: list[PlayedReferral] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _stopping: bool = field(default=False, init=False)

    def stop(self) -> None:
        """Begin no further case; those that were begun go on to their end."""
        self._stopping = True

    async def run(self) -> None:
        """Play until stopped."""
        places = self._places()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.beside):
                group.create_task(self._play_on(places))

    async def listen(self, client: DrivenAgency) -> None:
        """Follow a feed for ever, also past an answer that nobody expected: that is told."""
        agency_client.PATIENCE_SECONDS = PATIENCE_SECONDS  # type: ignore[misc]
        while True:
            try:
                await client.listen()
            except UnexpectedAnswer as failure:
                self.failures.append(failure.sentence)
            await asyncio.sleep(AGAIN_SECONDS)

    def _places(self) -> Iterator[tuple[DrivenAgency, DrivenAgency, str]]:
        chosen = random.Random(self.seed)
        for _ in range(self.cases_max):
            owner = chosen.choice(self.clients)
            others = [one for one in self.clients if one.agency.sector != owner.agency.sector]
            yield owner, chosen.choice(others), chosen.choice(sorted(WALKS))

    async def _play_on(self, places: Iterator[tuple[DrivenAgency, DrivenAgency, str]]) -> None:
        for owner, receiver, name in places:
            if self._stopping:
                return
            try:
                await self._play(owner, receiver, name)
            except UnexpectedAnswer as failure:
                self.failures.append(f"{name}: {failure.sentence}")

    async def _play(self, owner: DrivenAgency, receiver: DrivenAgency, name: str) -> None:
        ends, steps = WALKS[name]
        body = await owner.prepare(receiver.agency, feedback=FEEDBACK in steps, count="first")
        sent = await owner.offer(body)
        self.played.append(PlayedReferral(sent.referral, name, owner.agency.id, receiver.agency.id, ends))
        if (await owner.answer(sent)).type == REFUSED:
            raise UnexpectedAnswer("the offer was refused")
        told = "referral.offered"
        for step in steps:
            await all_told((owner, receiver), sent.referral, told)
            await take(step, owner if step.by == "owner" else receiver, sent.referral)
            told = step.fact
        await all_told((owner, receiver), sent.referral, told)
