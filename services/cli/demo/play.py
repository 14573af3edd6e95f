"""Plays the stories, all at once: agencies make and answer referrals, whatever is killed meanwhile."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.cli.demo.agencies import DESK, Agency, listed_only
from services.cli.demo.book import REFUSED
from services.cli.demo.clients import Client, Json, Unexpected
from services.cli.demo.evidence import Listed, Played, Race
from services.cli.demo.races import Pair, run_pair
from services.cli.demo.stage import Stage
from services.cli.demo.stories import STORIES, Move, Story

STORY_WITHIN_SECONDS: Final = 120.0
STALE_MAX: Final = 20
PREPARED_AT_ONCE: Final = 24
PAIRS_MAX: Final = 80
ORDERS_WANTED: Final = 5
OTHERS_TRIED: Final = 3
RACE: Final = next(story for story in STORIES if story.is_race)


class Gate:
    """Holds stories back until it opens, so that many go on at the same moment."""

    def __init__(self) -> None:
        self._waiting = 0
        self._came = asyncio.Condition()
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._open.set()

    async def passed(self) -> None:
        """Wait here until it opens."""
        async with self._came:
            self._waiting += 1
            self._came.notify_all()
        await self._open.wait()

    async def crowded(self, count: int, within_seconds: float) -> None:
        """Wait until so many have come, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds), self._came:
                await self._came.wait_for(lambda: self._waiting >= count)


@dataclass
class Play:
    """One run: its stage, its gates, and what went wrong."""

    stage: Stage
    offers: Gate = field(default_factory=Gate)
    answers: Gate = field(default_factory=Gate)
    races: list[Race] = field(default_factory=list)
    orders: dict[str, int] = field(default_factory=lambda: {"accepted": 0, "refused": 0})
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._preparing = asyncio.Semaphore(PREPARED_AT_ONCE)

    async def tell(self, stories: Sequence[Story]) -> None:
        """Play stories side by side, each between two agencies of different sectors."""
        async with asyncio.TaskGroup() as group:
            for place, story in enumerate(stories):
                group.create_task(self._told(story, *self._parties(place)))

    async def race_on(self) -> None:
        """Pair after pair, until both orders have come often enough; bounded."""
        for place in range(PAIRS_MAX):
            if min(self.orders.values()) >= ORDERS_WANTED:
                return
            await self._told(RACE, *self._parties(place))

    async def try_listed(self) -> tuple[Listed, ...]:
        """Offer referrals to organisations that are listed and not admitted: all of ours, a few of others."""
        owner, other = self.stage.agencies[0], self.stage.agencies[3]
        client = self.stage.client(owner)
        strangers = {row["organization"]: row for row in await client.services() if row["agency"] is None}
        ours = listed_only()
        others = [organization for organization in strangers if organization not in ours]
        return tuple(
            [
                await self._try_one(client, other, each, ours.get(each, ""), strangers.get(each))
                for each in (*ours, *others[:OTHERS_TRIED])
            ]
        )

    async def _try_one(
        self, client: Client, other: Agency, organization: str, title: str, row: Json | None
    ) -> Listed:
        if row is None:
            return Listed(organization, title, "not_listed")
        case = await client.open_case()
        consent = await client.record_consent(case, other, feedback=False)
        body = _offer(case, consent, other, row["service"], tuple(row["needs"]), "routine")
        answer = await self.stage.book.answer(await client.offer(body))
        return Listed(organization, row["organization_title"], answer.code)

    async def _told(self, story: Story, owner: Agency, receiver: Agency) -> None:
        try:
            async with asyncio.timeout(STORY_WITHIN_SECONDS):
                await self._play(story, self.stage.client(owner), self.stage.client(receiver))
        except TimeoutError:
            self.failures.append(f"{story.name}, {owner.id} to {receiver.id}: it did not end in time")
        except Unexpected as unexpected:
            self.failures.append(f"{story.name}, {owner.id} to {receiver.id}: {unexpected.sentence}")

    async def _play(self, story: Story, owner: Client, receiver: Client) -> None:
        book = self.stage.book
        async with self._preparing:
            case = await owner.open_case()
            consent = await owner.record_consent(case, receiver.agency, feedback=story.feedback)
        service = receiver.agency.services[0]
        await self.offers.passed()
        asked = await owner.offer(
            _offer(case, consent, receiver.agency, service.id, service.needs, story.urgency)
        )
        referral = asked.referral
        book.played.append(Played(referral, story.name, owner.agency.id, receiver.agency.id, story.ends))
        if (await book.answer(asked)).type == REFUSED:
            raise Unexpected("the offer was refused")
        await self._both_told(referral, (owner, receiver), "referral.offered")
        if story.waits_for:
            await self._both_told(referral, (owner, receiver), story.waits_for)
        await receiver.read_referral(referral)
        await self.answers.passed()
        if story.is_race:
            await self._race(Pair(referral, owner, receiver))
        for move in story.moves:
            await self._make(move, referral, owner, receiver)
        await owner.read_case(case)

    async def _make(self, move: Move, referral: str, owner: Client, receiver: Client) -> None:
        book = self.stage.book
        mover = owner if move.by == "owner" else receiver
        for _ in range(STALE_MAX):
            asked = await mover.step(referral, move.resource, move.body, move.fact)
            if asked:
                break
            await asyncio.sleep(0.1)  # its feed will bring what it has not seen
        else:
            raise Unexpected(f"{move.resource}: the view stays stale")
        answer = await book.answer(asked)
        if answer.type == REFUSED:
            raise Unexpected(f"{move.resource}: refused, {answer.code}")
        await self._both_told(referral, (owner, receiver), move.fact)

    async def _race(self, pair: Pair) -> None:
        lacking = min(self.orders, key=lambda order: self.orders[order])
        race, order = await run_pair(pair, self.stage.book, lacking)
        if race:
            self.races.append(race)
            self.orders[order] += 1
        await self._both_told(pair.referral, (pair.owner, pair.receiver), "referral.withdrawn")

    async def _both_told(self, referral: str, parties: tuple[Client, Client], fact: str) -> None:
        for party in parties:
            await self.stage.book.told(referral, party.agency.id, fact)

    def _parties(self, place: int) -> tuple[Agency, Agency]:
        """Every agency offers and receives; the two are of different sectors."""
        agencies = self.stage.agencies
        owner = agencies[place % len(agencies)]
        others = [agency for agency in agencies if agency.sector != owner.sector]
        return owner, others[(place * 7 + place // len(agencies)) % len(others)]


def _offer(
    case: str, consent: object, receiver: Agency, service: str, needs: tuple[str, ...], urgency: str
) -> dict[str, object]:
    return {
        "case": case,
        "consent": consent,
        "service": service,
        "recipient": receiver.id,
        "purpose": receiver.purpose,
        "groups": ["contact"],
        "needs": list(needs),
        "urgency": urgency,
        "age_band": "adult",
        "area": "ZZ0104",
        "duty": DESK,
    }
