"""Each event takes effect once, in its turn; what is behind a hole waits."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.events.referral import AcknowledgeReferral, WithdrawReferral
from schemas.topics import GOVERNANCE_STATE, STEPS
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic
from services.runtime.inbox import Stream, Turn, name_of, sort_out, stream_of, without_repeats
from tests.support.builders import an_event
from tests.support.clock import NOON

REFERRAL = "ref_" + "a" * 26
WITHDRAW = frozenset({"referral.withdraw"})


def numbered(
    sequence: int,
    name: str = "",
    content: bytes = b"same",
    topic: Topic = STEPS["health"],
    step: type[Any] = AcknowledgeReferral,
    epoch: int = 1,
    at: datetime = NOON,
) -> ReadEvent[Any]:
    body = step(referral=REFERRAL, agency="north-clinic", duty="intake")
    event = an_event(topic, body, sequence, name=name or f"evt_{sequence}", digest=content, at=at)
    return replace(event, writer_epoch=epoch)


STREAM = stream_of(numbered(1))
HEARD_SINCE = NOON - timedelta(hours=3)
WITHDRAWN = numbered(5, step=WithdrawReferral)
FOURTH = numbered(4)
KEPT_SINCE = NOON - timedelta(days=45)
UNKNOWN = numbered(3, "evt_new", b"other")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (numbered(4, epoch=3), (Turn.NEXT, 4)),
        (numbered(5, epoch=3), (Turn.WAITING, 3)),
        (numbered(5, step=WithdrawReferral, epoch=3), (Turn.AHEAD, 3)),
        (numbered(3), (Turn.TAKEN, 3)),
        (numbered(2, topic=GOVERNANCE_STATE), (Turn.REPEATED, 3)),  # older than the state that is known
        (numbered(3, topic=GOVERNANCE_STATE), (Turn.TAKEN, 3)),
        (numbered(2_000_001, epoch=3), (Turn.NEXT, 2_000_001)),  # the first of its epoch
        (numbered(2_000_002, epoch=3), (Turn.WAITING, 3)),
        (numbered(4, epoch=2), (Turn.OLDER, 3)),  # a third is heard since this morning
        (numbered(4, epoch=2, at=HEARD_SINCE), (Turn.NEXT, 4)),  # written before, and late
        (numbered(5, step=WithdrawReferral), (Turn.OLDER, 3)),
        (numbered(9, topic=GOVERNANCE_STATE, epoch=3), (Turn.NEXT, 9)),  # compacted: holes are normal
    ],
    ids=str,
)
def test_an_events_number_says_its_turn_and_moves_its_stream(
    event: ReadEvent[Any], expected: tuple[Turn, int]
) -> None:
    stream = stream_of(event)

    heard = {event.source: (3, HEARD_SINCE)}
    (turn,), following = sort_out([event], {stream: 3}, WITHDRAW, heard)

    assert (turn, following[stream]) == expected


@pytest.mark.parametrize(
    ("events", "is_new", "expected"),
    [
        ([WITHDRAWN], True, [Turn.AHEAD]),
        ([WITHDRAWN], False, [Turn.WAITING]),
        ([numbered(3)], False, [Turn.REPEATED]),
        ([numbered(3, content=b"other")], False, [Turn.CHANGED]),
        ([numbered(4, "evt_1", b"other")], False, [Turn.CHANGED]),  # an id used again for another event
        ([UNKNOWN], False, [Turn.TAKEN]),
        ([numbered(3, "evt_new", at=KEPT_SINCE - timedelta(1))], False, [Turn.REPEATED]),  # no name is kept
        ([FOURTH, FOURTH], True, [Turn.NEXT, Turn.REPEATED]),
        ([FOURTH, numbered(5, "evt_4", b"other")], True, [Turn.NEXT, Turn.CHANGED]),
    ],
)
def test_a_name_takes_effect_once_and_never_with_other_content(
    events: list[ReadEvent[Any]], is_new: bool, expected: list[Turn]
) -> None:
    turns, _ = sort_out(events, {STREAM: 3}, WITHDRAW)
    name = name_of(events[0])

    seen = {name: b"same"} if name != name_of(UNKNOWN) else {}
    assert without_repeats(events, turns, {name} if is_new else (), seen, KEPT_SINCE) == expected


def test_any_shuffle_with_repeats_applies_each_once_and_in_order() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        arriving = [numbered(number) for number in range(1, 9)] * 2
        chance.shuffle(arriving)

        applied: list[int] = []
        last: dict[Stream, int] = {}
        seen: dict[tuple[str, str], bytes] = {}
        while len(applied) < 8:  # what waits comes again, as a redrive brings it
            turns, last = sort_out(arriving, last, WITHDRAW)
            candidates = [event for event, turn in zip(arriving, turns, strict=True) if turn.is_fresh]
            new = {name_of(event) for event in candidates} - seen.keys()
            seen |= {name_of(event): event.digest for event in candidates}
            found = without_repeats(arriving, turns, new, seen, KEPT_SINCE)
            applied += [event.sequence for event, turn in zip(arriving, found, strict=True) if turn.is_fresh]

        assert applied == [1, 2, 3, 4, 5, 6, 7, 8], f"seed {seed}"
