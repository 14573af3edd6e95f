"""Plays the stories, all at once, some as a race of two parties, whatever is killed meanwhile."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    REDIRECT,
    REFUSED,
    SEAL,
    START,
    WITHDRAW,
    AgencyAccount,
    AgencyClient,
    AgencyStep,
    Json,
    SentStep,
    UnexpectedAnswer,
)
from services.cli.demo.agencies import listed_only
from services.cli.demo.canaries import new_packet
from services.cli.demo.checks import GAP_MS_MAX, ORDERS_AT_LEAST, PlayedReferral
from services.cli.demo.packet_checks import ACCEPTED, NOT_AGREED, RACED, STRANGER, TOO_EARLY, WITHDRAWN
from services.cli.demo.partner_checks import HalfSigned, UndecidedVersion
from services.cli.demo.pulls import AGREED, NOT_AGREED_TO, agreement
from services.cli.demo.trial import Trial

COUNTED: Final = "first"
"""How each case counts in statistics: it is that survivor's first referral."""
STORY_WITHIN_SECONDS: Final = 120.0
STALE_MAX: Final = 20
STALE_PAUSE_SECONDS: Final = 0.1
PREPARED_AT_ONCE: Final = 24
PAIRS_MAX: Final = 160
STRANGERS_TRIED: Final = 3
LEFT: Final = "http11.send_request_headers.complete"
"""The client's own word that a request is on its way; it is measured, not promised."""
HEAD_START_SECONDS: Final = 0.001
HEAD_START_SECONDS_MAX: Final = 0.8 * GAP_MS_MAX / 1_000
LONGER: Final = 1.5
"""A head start that did not suffice grows by this factor, within the gap that still is a race."""
PULLED_BEFORE_SECONDS: Final = 0.015
"""How much earlier a pull leaves than the withdrawal that it races: some not, some three times that."""


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
    goes_on: str | None = None
    """Who asks the next agency after the steps: the owner's service by itself, or its people by hand."""


BY_ITSELF, BY_HAND = "by itself", "by hand"
NEXT_NAME: Final = "asked next, served and closed"
NEXT_STEPS: Final = (ACCEPT, START, PROVIDE, CLOSE)
STORIES: Final = (
    Story("served, with feedback, closed", 5,
          (ACKNOWLEDGE, ACCEPT, START, PROVIDE, FEEDBACK, CLOSE), "closed"),
    Story("declined, her need unmet", 1, (ACKNOWLEDGE, DECLINE, CLOSE_UNMET), "closed_unmet"),
    Story("declined, the next one asked", 2, (ACKNOWLEDGE, DECLINE), "redirected", goes_on=BY_ITSELF),
    Story("withdrawn while accepted", 3, (SEAL,), "sealed", is_race=True),
    Story("served and closed", 3, (ACCEPT, START, PROVIDE, CLOSE, SEAL), "sealed", urgency="routine"),
    Story("expired, her need unmet", 2, (CLOSE_UNMET,), "closed_unmet", urgency="critical",
          waits_for="referral.expired"),
    Story("not provided, her need unmet", 1, (ACCEPT, NOT_PROVIDE, CLOSE_UNMET), "closed_unmet"),
    Story("not provided, the next one asked", 1, (ACCEPT, NOT_PROVIDE), "redirected", goes_on=BY_HAND),
    Story("cancelled before an answer", 2, (CANCEL, SEAL), "sealed"),
    Story("reminded, then served", 1, (ACCEPT, START, PROVIDE, CLOSE), "closed", urgency="urgent",
          waits_for="referral.reminded"),
    Story("withdrawn in service", 2, (ACCEPT, START, WITHDRAW, SEAL), "sealed"),
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


@dataclass(frozen=True, slots=True)
class Hop:
    """One referral on its way, and who tries to learn of it."""

    referral: str
    owner: AgencyClient
    receiver: AgencyClient
    stranger: AgencyClient
    place: int

    async def told(self, fact: str) -> None:
        """Wait until both parties are told."""
        await all_told((self.owner, self.receiver), self.referral, fact)


@dataclass
class Play:
    """One run: its gates, what was played, and what went wrong."""

    trial: Trial
    offers: Gate = field(default_factory=Gate)
    answers: Gate = field(default_factory=Gate)
    played: list[PlayedReferral] = field(default_factory=list)
    gaps_ms: dict[str, float] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=lambda: {"accepted": 0, "refused": 0})
    head_start: float = HEAD_START_SECONDS
    failures: list[str] = field(default_factory=list)
    outsiders: dict[str, str | None] = field(default_factory=dict)
    undecided: Mapping[str, UndecidedVersion] = field(default_factory=dict)
    half_signed: Mapping[str, HalfSigned] = field(default_factory=dict)
    learned: Mapping[str, Any] = field(default_factory=dict)
    """The evidence of what partners learned."""
    _preparing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PREPARED_AT_ONCE))

    async def play_all(self, stories: Sequence[Story]) -> None:
        """Play stories side by side, each between two agencies of different sectors."""
        async with asyncio.TaskGroup() as group:
            for place, story in enumerate(stories):
                group.create_task(self._play_one(story, place))

    async def race_on(self) -> None:
        """Pair after pair, until both orders have come often enough; bounded."""
        for place in range(PAIRS_MAX):
            if min(self.orders.values()) >= ORDERS_AT_LEAST or self.failures:
                return  # where a story has failed the run is red, and every pair might wait in vain
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
        owner, receiver, stranger = (self.trial.clients[agency.id] for agency in self._parties(place))
        try:
            async with asyncio.timeout(STORY_WITHIN_SECONDS):
                await self._play(story, owner, receiver, stranger, place)
        except (TimeoutError, UnexpectedAnswer) as failure:
            why = failure.sentence if isinstance(failure, UnexpectedAnswer) else "it did not end in time"
            self.failures.append(f"{story.name}, {owner.agency.id} to {receiver.agency.id}: {why}")

    async def _play(
        self, story: Story, owner: AgencyClient, receiver: AgencyClient, stranger: AgencyClient, place: int
    ) -> None:
        following = self._next_of(receiver)
        asked = [receiver.agency, *([following.agency] if story.goes_on else ())]
        async with self._preparing:
            body = await owner.prepare(
                *asked,
                feedback=FEEDBACK in story.steps,
                agreed=agreement(AGREED[receiver.agency.sector], *asked),
                urgency=story.urgency,
                count=COUNTED,
                alternatives=[_service_of(following)] if story.goes_on == BY_ITSELF else [],
            )
            sector, packet = receiver.agency.sector, new_packet()
            told = (*AGREED[sector], NOT_AGREED_TO[sector])
            await owner.write_packet(body["case"], {group: packet[group] for group in told})
        await self.offers.passed()
        sent = await owner.offer(body)
        hop = Hop(sent.referral, owner, receiver, stranger, place)
        self._has_begun(hop, story.name, story.ends)
        if (await owner.answer(sent)).type == REFUSED:
            raise UnexpectedAnswer("the offer was refused")
        await hop.told("referral.offered")
        if story.waits_for:
            await hop.told(story.waits_for)
        elif place % 2:
            await self._pull(hop, TOO_EARLY)
        await receiver.read_referral(hop.referral)
        await self.answers.passed()
        if story.is_race:
            await self._race(hop.referral, owner, receiver)
            await self._pull(hop, WITHDRAWN)
            await hop.told("referral.withdrawn")
        await self._walk(story.steps, hop)
        if story.goes_on == BY_HAND:
            await take(replace(REDIRECT, body=_service_of(following)), owner, hop.referral)
        if story.goes_on:
            await hop.told(REDIRECT.fact)
            shown = await owner.read_referral(hop.referral)
            successor = next(fact["successor"] for fact in shown["facts"] if fact["type"] == REDIRECT.fact)
            hop = replace(hop, referral=successor, receiver=following)
            self._has_begun(hop, NEXT_NAME, "closed")
            await hop.told("referral.offered")
            await self._walk(NEXT_STEPS, hop)
        await owner.read_case(body["case"])

    async def _walk(self, steps: Sequence[AgencyStep], hop: Hop) -> None:
        """One step after the other, with the pulls that belong to an acceptance and to a withdrawal."""
        for step in steps:
            by = hop.owner if step.by == "owner" else hop.receiver
            async with asyncio.TaskGroup() as beside:
                if step is WITHDRAW:
                    beside.create_task(self._pull(hop, RACED))
                    await asyncio.sleep(hop.place % 4 * PULLED_BEFORE_SECONDS)
                sent = await leave(step, by, hop.referral)
            if step is WITHDRAW:
                self.trial.pulls.withdrawn_at[hop.referral] = time.monotonic()
                await self._pull(hop, WITHDRAWN)
            await happened(step, by, sent)
            await hop.told(step.fact)
            if step is ACCEPT:
                await self._pull(hop, ACCEPTED)
                await self._pull(hop, STRANGER if hop.place % 2 else NOT_AGREED)

    async def _pull(self, hop: Hop, moment: str) -> None:
        sector = hop.receiver.agency.sector
        by = hop.stranger if moment == STRANGER else hop.receiver
        groups = (NOT_AGREED_TO[sector],) if moment == NOT_AGREED else AGREED[sector]
        await self.trial.pulls.pull(by, hop.referral, groups, moment, owner=hop.owner.agency.sector)

    def _has_begun(self, hop: Hop, name: str, ends: str) -> None:
        parties = hop.owner.agency.id, hop.receiver.agency.id
        self.played.append(PlayedReferral(hop.referral, name, *parties, ends))

    def _next_of(self, receiver: AgencyClient) -> AgencyClient:
        """Another agency of the same sector."""
        same = [one for one in self.trial.clients.values() if one.agency.sector == receiver.agency.sector]
        return same[same.index(receiver) - 1]

    async def _race(self, referral: str, owner: AgencyClient, receiver: AgencyClient) -> None:
        """Acceptance and withdrawal at once; the order that came least often gets a head start.

        A withdrawal first stops releases, in a transaction of its own, and so reaches the arbiter later than
        an acceptance that left with it: its head start grows until it comes first too. No gap is told where
        the requests did not leave once each, close enough together to be a race.
        """
        wanted = "refused" if self.orders["refused"] < self.orders["accepted"] else "accepted"
        waits = (self.head_start, 0.0) if wanted == "refused" else (0.0, HEAD_START_SECONDS)
        async with asyncio.TaskGroup() as group:
            accepting = group.create_task(_send(receiver, referral, ACCEPT, waits[0]))
            withdrawing = group.create_task(_send(owner, referral, WITHDRAW, waits[1]))
        self.trial.pulls.withdrawn_at[referral] = time.monotonic()
        sent, left = accepting.result()
        answer = await receiver.answer(sent) if sent else None
        order = "accepted" if answer and answer.type == ACCEPT.fact else "refused"
        if wanted == "refused" != order:
            self.head_start = min(self.head_start * LONGER, HEAD_START_SECONDS_MAX)
        departures = (*left, *withdrawing.result()[1])
        gap_ms = (max(departures, default=0.0) - min(departures, default=0.0)) * 1_000
        if len(departures) == 2 and gap_ms <= GAP_MS_MAX:
            self.gaps_ms[referral] = gap_ms
            self.orders[order] += 1

    def _parties(self, place: int) -> tuple[AgencyAccount, AgencyAccount, AgencyAccount]:
        """Every agency offers and receives; two are of different sectors, and the stranger of a third one."""
        agencies = self.trial.agencies
        owner = agencies[place % len(agencies)]
        others = [agency for agency in agencies if agency.sector != owner.sector]
        receiver = others[(place * 7 + place // len(agencies)) % len(others)]
        strangers = [agency for agency in others if agency.sector != receiver.sector]
        return owner, receiver, strangers[place % len(strangers)]


def _service_of(client: AgencyClient) -> Json:
    return {"recipient": client.agency.id, "service": next(iter(client.agency.services))}


async def take(step: AgencyStep, by: AgencyClient, referral: str) -> None:
    """Ask for a step, and wait until it has happened."""
    await happened(step, by, await leave(step, by, referral))


async def leave(step: AgencyStep, by: AgencyClient, referral: str) -> SentStep:
    """Ask for a step on the newest view, as often as it takes; it is answered once this returns."""
    for _ in range(STALE_MAX):
        if sent := await by.step(referral, step):
            return sent
        await asyncio.sleep(STALE_PAUSE_SECONDS)  # its feed will bring what it has not seen
    raise UnexpectedAnswer(f"{step.resource}: the view stays stale")


async def happened(step: AgencyStep, by: AgencyClient, sent: SentStep) -> None:
    """Wait for the fact of a step; its refusal is unexpected."""
    answer = await by.answer(sent)
    if answer.type == REFUSED:
        raise UnexpectedAnswer(f"{step.resource}: refused, {answer.code}")


async def all_told(parties: Iterable[AgencyClient], referral: str, fact: str) -> None:
    """Wait until each of them is told."""
    for party in parties:
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
