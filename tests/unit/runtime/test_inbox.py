"""Each event takes effect once, in its turn; what is behind a hole waits."""

import random
from typing import Any

import pytest

from schemas.events.referral import AcknowledgeReferral, WithdrawReferral
from schemas.topics import GOVERNANCE_STATE, STEPS
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic
from services.runtime.inbox import Stream, Turn, name_of, sort_out, stream_of, without_repeats
from tests.support.builders import an_event

REFERRAL = "ref_" + "a" * 26
WITHDRAW = frozenset({"referral.withdraw"})


def numbered(
    sequence: int,
    name: str = "",
    content: bytes = b"same",
    topic: Topic = STEPS["health"],
    step: type[Any] = AcknowledgeReferral,
) -> ReadEvent[Any]:
    body = step(referral=REFERRAL, agency="north-clinic", duty="intake")
    return an_event(topic, body, sequence, name=name or f"evt_{sequence}", digest=content)


STREAM = stream_of(numbered(1))
WITHDRAWN = numbered(5, step=WithdrawReferral)
FOURTH = numbered(4)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (FOURTH, (Turn.NEXT, 4)),
        (numbered(5), (Turn.WAITING, 3)),
        (WITHDRAWN, (Turn.AHEAD, 3)),
        (numbered(3), (Turn.REPEATED, 3)),
        (numbered(9, topic=GOVERNANCE_STATE), (Turn.NEXT, 9)),  # compacted: holes are normal
    ],
    ids=str,
)
def test_an_events_number_says_its_turn_and_moves_its_stream(
    event: ReadEvent[Any], expected: tuple[Turn, int]
) -> None:
    stream = stream_of(event)

    (turn,), following = sort_out([event], {stream: 3}, WITHDRAW)

    assert (turn, following[stream]) == expected


@pytest.mark.parametrize(
    ("events", "is_new", "expected"),
    [
        ([WITHDRAWN], True, [Turn.AHEAD]),
        ([WITHDRAWN], False, [Turn.WAITING]),
        ([numbered(3)], False, [Turn.REPEATED]),
        ([numbered(3, content=b"other")], False, [Turn.CHANGED]),
        ([numbered(4, "evt_1", b"other")], False, [Turn.CHANGED]),  # an id used again for another event
        ([FOURTH, FOURTH], True, [Turn.NEXT, Turn.REPEATED]),
        ([FOURTH, numbered(5, "evt_4", b"other")], True, [Turn.NEXT, Turn.CHANGED]),
    ],
)
def test_a_name_takes_effect_once_and_never_with_other_content(
    events: list[ReadEvent[Any]], is_new: bool, expected: list[Turn]
) -> None:
    turns, _ = sort_out(events, {STREAM: 3}, WITHDRAW)
    name = name_of(events[0])

    assert without_repeats(events, turns, {name} if is_new else (), {name: b"same"}) == expected


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
            found = without_repeats(arriving, turns, new, seen)
            applied += [event.sequence for event, turn in zip(arriving, found, strict=True) if turn.is_fresh]

        assert applied == [1, 2, 3, 4, 5, 6, 7, 8], f"seed {seed}"
