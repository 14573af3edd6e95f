"""How referrals go: each story is a row of steps, and its share of the run."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

from services.cli.agency_client import (
    ACCEPT,
    ACKNOWLEDGE,
    CANCEL,
    CLOSE,
    DECLINE,
    FEEDBACK,
    PROVIDE,
    SEAL,
    START,
    AgencyStep,
)


@dataclass(frozen=True, slots=True)
class Story:
    """One way for a referral to go, and where it ends."""

    name: str
    share: int
    steps: tuple[AgencyStep, ...]
    ends: str
    urgency: str = "priority"
    feedback: bool = False
    waits_for: str | None = None
    """A fact of the clock that comes before the steps, or instead of them."""
    is_race: bool = False
    """Acceptance and withdrawal leave at once, before the steps."""


STORIES: Final = (
    Story("served, with feedback, closed", 5,
          (ACKNOWLEDGE, ACCEPT, START, PROVIDE, FEEDBACK, CLOSE), "closed", feedback=True),
    Story("declined", 3, (ACKNOWLEDGE, DECLINE), "declined"),
    Story("withdrawn while accepted", 3, (SEAL,), "sealed", is_race=True),
    Story("served and closed", 3, (ACCEPT, START, PROVIDE, CLOSE, SEAL), "sealed", urgency="routine"),
    Story("expired", 2, (), "expired", urgency="critical", waits_for="referral.expired"),
    Story("cancelled before an answer", 2, (CANCEL, SEAL), "sealed"),
    Story("reminded, then served", 1, (ACCEPT, START, PROVIDE, CLOSE), "closed", urgency="urgent",
          waits_for="referral.reminded"),
    Story("cancelled after acceptance", 1, (ACCEPT, CANCEL), "cancelled"),
)  # fmt: skip

TIMERS: Final = {
    "acknowledge": {"critical": 3, "urgent": 4, "priority": 600, "routine": 600},
    "answer": {"critical": 6, "urgent": 600, "priority": 600, "routine": 600},
    "seal": {"critical": 60, "urgent": 60, "priority": 60, "routine": 60},
}
"""Seconds of the demo's protocol: the clock is never moved, the protocol is short."""


def dealt(count: int) -> Iterator[Story]:
    """So many stories, mixed; one with a share of three sits out the rounds after the third."""
    rounds = range(max(story.share for story in STORIES))
    return islice(cycle([story for place in rounds for story in STORIES if place < story.share]), count)
