"""Plays the stories, all at once, some as a race of two parties, whatever is killed meanwhile."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Final

from services.cli.agency_client import (
    ACCEPT,
    ACKNOWLEDGE,
    CANCEL,
    CLOSE,
    CLOSE_UNMET,
    DECLINE,
    FEEDBACK,
    NOT_PROVIDE,
    PROVIDE,
    REFUSED,
    SEAL,
    START,
    WITHDRAW,
    AgencyAccount,
    AgencyClient,
    AgencyStep,
    SentStep,
    UnexpectedAnswer,
)
from services.cli.demo.agencies import listed_only
from services.cli.demo.checks import GAP_MS_MAX, ORDERS_AT_LEAST, PlayedReferral
from services.cli.demo.trial import Trial

STORY_WITHIN_SECONDS: Final = 120.0
STALE_MAX: Final = 20
STALE_PAUSE_SECONDS: Final = 0.1
PREPARED_AT_ONCE: Final = 24
PAIRS_MAX: Final = 80
STRANGERS_TRIED: Final = 3
LEFT: Final = "http11.send_request_headers.complete"
"""The client's own word that a request is on its way; it is measured, not promised."""
HEAD_START_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Story:
    """One way for a referral to go, and where it ends."""

    name: str
    share: int
    steps: tuple[AgencyStep, ...]
    ends: str
    urgency: str = "priority"
    waits_for: str | None = None
    """A fact of the clock that comes before the steps, or instead of them."""
    is_race: bool = False
    """Acceptance and withdrawal leave at once, before the steps."""


STORIES: Final = (
    Story("served, with feedback, closed", 5,
          (ACKNOWLEDGE, ACCEPT, START, PROVIDE, FEEDBACK, CLOSE), "closed"),
    Story("declined, her need unmet", 3, (ACKNOWLEDGE, DECLINE, CLOSE_UNMET), "closed_unmet"),
    Story("withdrawn while accepted", 3, (SEAL,), "sealed", is_race=True),
    Story("served and closed", 3, (ACCEPT, START, PROVIDE, CLOSE, SEAL), "sealed", urgency="routine"),
    Story("expired, her need unmet", 2, (CLOSE_UNMET,), "closed_unmet", urgency="critical",
          waits_for="referral.expired"),
    Story("not provided, her need unmet", 1, (ACCEPT, NOT_PROVIDE, CLOSE_UNMET), "closed_unmet"),
    Story("cancelled before an answer", 2, (CANCEL, SEAL), "sealed"),
    Story("reminded, then served", 1, (ACCEPT, START, PROVIDE, CLOSE), "closed", urgency="urgent",
          waits_for="referral.reminded"),
    Story("cancelled after acceptance", 1, (ACCEPT, CANCEL), "cancelled"),
)  # fmt: skip
RACE: Final = next(story for story in STORIES if story.is_race)


def dealt(count: int) -> Iterator[Story]:
    """So many stories, mixed; one with a share of three sits out the rounds after the third."""
    rounds = range(max(story.share for story in STORIES))
    return islice(cycle([story for place in rounds for story in STORIES if place < story.share]), count)


class Gate(asyncio.Event):
    """Holds stories back until it is set, so that many go on at the same moment."""

    waiting = 0

    async def passed(self) -> None:
        """Wait here until it is set."""
        self.waiting += 1
        await self.wait()


@dataclass
class Play:
    """One run: its gates, what was played, and what went wrong."""

    trial: Trial
    offers: Gate = field(default_factory=Gate)
    answers: Gate = field(default_factory=Gate)
    played: list[PlayedReferral] = field(default_factory=list)
    gaps_ms: dict[str, float] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=lambda: {"accepted": 0, "refused": 0})
    failures: list[str] = field(default_factory=list)
    outsiders: dict[str, str | None] = field(default_factory=dict)
    _preparing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PREPARED_AT_ONCE))

    async def play_all(self, stories: Sequence[Story]) -> None:
        """Play stories side by side, each between two agencies of different sectors."""
        async with asyncio.TaskGroup() as group:
            for place, story in enumerate(stories):
                group.create_task(self._play_one(story, place))

    async def race_on(self) -> None:
        """Pair after pair, until both orders have come often enough; bounded."""
        for place in range(PAIRS_MAX):
            if min(self.orders.values()) >= ORDERS_AT_LEAST:
                return
            await self._play_one(RACE, place)

    async def try_outsiders(self) -> None:
        """Offer referrals to organisations that are listed and not admitted: all of ours, a few of others."""
        owner, recipient = self.trial.agencies[0], self.trial.agencies[3]
        client = self.trial.clients[owner.id]
        listed = {row["organization"]: row for row in await client.services() if row["agency"] is None}
        ours = listed_only()
        others = [organization for organization in listed if organization not in ours]
        for organization in (*ours, *others[:STRANGERS_TRIED]):
            if row := listed.get(organization):
                body = await client.prepare(recipient, service=row["service"], needs=row["needs"])
                answer = await client.answer(await client.offer(body))
                self.outsiders[row["organization_title"]] = answer.code
            else:
                self.outsiders[ours[organization]] = "not_listed"

    async def _play_one(self, story: Story, place: int) -> None:
        owner, receiver = (self.trial.clients[agency.id] for agency in self._parties(place))
        try:
            async with asyncio.timeout(STORY_WITHIN_SECONDS):
                await self._play(story, {"owner": owner, "receiver": receiver})
        except (TimeoutError, UnexpectedAnswer) as failure:
            why = failure.sentence if isinstance(failure, UnexpectedAnswer) else "it did not end in time"
            self.failures.append(f"{story.name}, {owner.agency.id} to {receiver.agency.id}: {why}")

    async def _play(self, story: Story, parties: Mapping[str, AgencyClient]) -> None:
        owner, receiver = parties["owner"], parties["receiver"]
        async with self._preparing:
            body = await owner.prepare(
                receiver.agency, feedback=FEEDBACK in story.steps, urgency=story.urgency
            )
        await self.offers.passed()
        sent = await owner.offer(body)
        referral = sent.referral
        self.played.append(
            PlayedReferral(referral, story.name, owner.agency.id, receiver.agency.id, story.ends)
        )
        if (await owner.answer(sent)).type == REFUSED:
            raise UnexpectedAnswer("the offer was refused")
        await _all_told(parties, referral, "referral.offered")
        if story.waits_for:
            await _all_told(parties, referral, story.waits_for)
        await receiver.read_referral(referral)
        await self.answers.passed()
        if story.is_race:
            await self._race(referral, owner, receiver)
            await _all_told(parties, referral, "referral.withdrawn")
        for step in story.steps:
            await _take(step, parties[step.by], referral)
            await _all_told(parties, referral, step.fact)
        await owner.read_case(body["case"])

    async def _race(self, referral: str, owner: AgencyClient, receiver: AgencyClient) -> None:
        """Acceptance and withdrawal at once; the order that came least often gets a small head start.

        No gap is told where the requests did not leave once each, close enough together to be a race.
        """
        accept_later = HEAD_START_SECONDS if self.orders["refused"] < self.orders["accepted"] else 0.0
        async with asyncio.TaskGroup() as group:
            accepting = group.create_task(_send(receiver, referral, ACCEPT, accept_later))
            withdrawing = group.create_task(
                _send(owner, referral, WITHDRAW, HEAD_START_SECONDS - accept_later)
            )
        sent, left = accepting.result()
        answer = await receiver.answer(sent) if sent else None
        departures = (*left, *withdrawing.result()[1])
        gap_ms = (max(departures, default=0.0) - min(departures, default=0.0)) * 1_000
        if len(departures) == 2 and gap_ms <= GAP_MS_MAX:
            self.gaps_ms[referral] = gap_ms
            self.orders["accepted" if answer and answer.type == ACCEPT.fact else "refused"] += 1

    def _parties(self, place: int) -> tuple[AgencyAccount, AgencyAccount]:
        """Every agency offers and receives; the two are of different sectors."""
        agencies = self.trial.agencies
        owner = agencies[place % len(agencies)]
        others = [agency for agency in agencies if agency.sector != owner.sector]
        return owner, others[(place * 7 + place // len(agencies)) % len(others)]


async def _take(step: AgencyStep, by: AgencyClient, referral: str) -> None:
    for _ in range(STALE_MAX):
        if sent := await by.step(referral, step):
            break
        await asyncio.sleep(STALE_PAUSE_SECONDS)  # its feed will bring what it has not seen
    else:
        raise UnexpectedAnswer(f"{step.resource}: the view stays stale")
    answer = await by.answer(sent)
    if answer.type == REFUSED:
        raise UnexpectedAnswer(f"{step.resource}: refused, {answer.code}")


async def _all_told(parties: Mapping[str, AgencyClient], referral: str, fact: str) -> None:
    for party in parties.values():
        await party.told(referral, fact)


async def _send(
    client: AgencyClient, referral: str, step: AgencyStep, later_seconds: float
) -> tuple[SentStep | None, list[float]]:
    """The step, and when it left; more than once if it had to be sent again."""
    departures: list[float] = []

    async def trace(event: str, _about: Any) -> None:
        if event == LEFT:
            departures.append(time.monotonic())

    await asyncio.sleep(later_seconds)
    return await client.step(referral, step, trace=trace), departures
