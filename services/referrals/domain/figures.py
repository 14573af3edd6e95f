"""What people watch: offers that nobody has answered, by urgency and age, and facts a minute by type.

Two tables that any fact may be applied to twice. They hold codes, minutes and random ids, and are counted
only when somebody looks.
"""

from collections import Counter, deque
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

from schemas.events.facts import FactBase, ReferralOffered, ReferralReoffered
from schemas.events.life_cycle import AWAITING_ANSWER
from schemas.wire.envelope import ReadEvent

OPEN_OFFERS: Final = "open_offers"
"""Referral → its urgency, and the minute in which it was offered."""
FACTS_A_MINUTE: Final = "facts_a_minute"
"""Partition and minute → how many facts of each type, and the last offset among them."""
MINUTES_KEPT: Final = 60
MINUTES_SHOWN: Final = 15
REPEATS_MAX: Final = 1_000
"""How far back a fact that was sent twice is known again: twice what a relay sends at once."""
AGES: Final = (
    (15, "under_15_minutes"),
    (60, "under_1_hour"),
    (1_440, "under_1_day"),
    (4_320, "under_3_days"),
)
OLDER: Final = "older"
UNSAID: Final = "unsaid"
"""The urgency of an offer whose protocol does not let statistics see it."""

Tables = Mapping[str, MutableMapping[str, Any]]


class Figures:
    """Applies facts to the tables, in the order of their partition; a repeat changes nothing."""

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=REPEATS_MAX)

    def apply(self, event: ReadEvent[Any], place: tuple[int, int], tables: Tables) -> None:
        """Apply one fact that stands at a partition and offset."""
        if isinstance(event.body, FactBase):
            follow_offer(event.body, minute_of(event.at), tables[OPEN_OFFERS])
        if event.id not in self._recent:  # the relay sends again what it was not sure of
            count_fact(event, place, tables[FACTS_A_MINUTE])
            self._recent.append(event.id)


def follow_offer(fact: FactBase, minute: int, offers: MutableMapping[str, Any]) -> None:
    """Keep an offer from its fact on for as long as it awaits an answer."""
    if fact.state in AWAITING_ANSWER:
        if fact.referral not in offers:
            urgency = fact.urgency if isinstance(fact, ReferralOffered | ReferralReoffered) else None
            offers[fact.referral] = [urgency or UNSAID, minute]
    elif fact.referral in offers:
        del offers[fact.referral]


def count_fact(event: ReadEvent[Any], place: tuple[int, int], minutes: MutableMapping[str, Any]) -> None:
    """Count a fact in its minute, unless that minute has counted up to its offset or is long gone."""
    partition, offset = place
    minute = minute_of(event.at)
    key = f"{partition}/{minute}"
    known = minutes.get(key)
    if known is None:
        own = [int(one.partition("/")[2]) for one in minutes if one.startswith(f"{partition}/")]
        newest = max([minute, *own])
        for gone in own:
            if gone <= newest - MINUTES_KEPT:
                del minutes[f"{partition}/{gone}"]
        if minute <= newest - MINUTES_KEPT:
            return
        known = {"offset": -1, "counts": {}}
    if offset > known["offset"]:
        kind = event.body.type.partition(".")[2]
        counts = known["counts"] | {kind: known["counts"].get(kind, 0) + 1}
        minutes[key] = {"offset": offset, "counts": counts}


def show(tables: Tables, at: datetime) -> Mapping[str, Any]:
    """The figures for people: open offers by urgency and age, and the facts of each of the last minutes."""
    now = minute_of(at)
    ages: dict[str, Counter[str]] = {}
    for urgency, offered in tables[OPEN_OFFERS].values():
        ages.setdefault(urgency, Counter())[age_of(now - offered)] += 1
    minutes: dict[int, Counter[str]] = {}
    for key, known in tables[FACTS_A_MINUTE].items():
        minute = int(key.partition("/")[2])
        if minute > now - MINUTES_SHOWN:
            minutes.setdefault(minute, Counter()).update(known["counts"])
    return {
        "unanswered": {urgency: dict(ages[urgency]) for urgency in sorted(ages)},
        "facts_a_minute": [
            {"minute": _text(minute), "counts": dict(sorted(minutes[minute].items()))}
            for minute in sorted(minutes)
        ],
    }


def age_of(minutes: int) -> str:
    """The band of an age in minutes."""
    return next((band for limit, band in AGES if minutes < limit), OLDER)


def minute_of(at: datetime) -> int:
    """The minute of an instant, counted since 1970."""
    return int(at.timestamp()) // 60


def _text(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%dT%H:%MZ}"
