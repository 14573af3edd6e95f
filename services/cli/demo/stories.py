"""How referrals go: each story is a row of moves, and its share of the run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final, Literal

Party = Literal["owner", "receiver"]


@dataclass(frozen=True, slots=True)
class Move:
    """One step: who asks, at which sub-resource, with what, and the fact that answers it."""

    by: Party
    resource: str
    fact: str
    body: Mapping[str, Any] = field(default_factory=dict)


ACKNOWLEDGE: Final = Move("receiver", "acknowledgements", "referral.acknowledged")
ACCEPT: Final = Move("receiver", "acceptances", "referral.accepted", {"appointment": "this_week"})
DECLINE: Final = Move("receiver", "declines", "referral.declined", {"reason": "no_capacity"})
START: Final = Move("receiver", "starts", "referral.started")
PROVIDE: Final = Move("receiver", "provisions", "referral.provided", {"outcome": "completed"})
FEEDBACK: Final = Move("receiver", "feedback", "referral.feedback_given", {"outcome": "helped"})
CLOSE: Final = Move("owner", "closures", "referral.closed", {"reason": "needs_met"})
CANCEL: Final = Move("owner", "cancellations", "referral.cancelled", {"reason": "found_elsewhere"})
WITHDRAW: Final = Move("owner", "withdrawals", "referral.withdrawn", {"stop_contact": True})
SEAL: Final = Move("receiver", "seal-confirmations", "referral.sealed", {"method": "nothing_held"})


@dataclass(frozen=True, slots=True)
class Story:
    """One way for a referral to go, and where it ends."""

    name: str
    share: int
    moves: tuple[Move, ...]
    ends: str
    urgency: str = "priority"
    feedback: bool = False
    waits_for: str | None = None
    """A fact of the clock that comes before the moves, or instead of them."""
    is_race: bool = False
    """Acceptance and withdrawal leave at once, before the moves."""


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


def told(count: int) -> Iterator[Story]:
    """So many stories, mixed, each as often as its share says."""
    dealt = _dealt(STORIES)
    for _ in range(count):
        yield next(dealt)


def _dealt(stories: Sequence[Story]) -> Iterator[Story]:
    """Round after round; a story with a share of three sits out the rounds after the third."""
    rounds = range(max(story.share for story in stories))
    yield from cycle([story for round_ in rounds for story in stories if round_ < story.share])
