"""Each event takes effect once, in its turn; what is behind a hole waits."""

import random
from dataclasses import replace
from datetime import UTC, datetime

from schemas.events.referral import AcknowledgeReferral, WithdrawReferral
from schemas.topics import GOVERNANCE_STATE, STEPS
from schemas.wire.envelope import ReadEvent, Reason
from services.runtime.inbox import Stream, sort_out, stream_of, taken

REFERRAL = "ref_" + "a" * 26
WITHDRAW = frozenset({"referral.withdraw"})


def an_event(
    sequence: int, *, name: str | None = None, digest: bytes = b"same", withdraws: bool = False
) -> ReadEvent:
    step = WithdrawReferral if withdraws else AcknowledgeReferral
    body = step(referral=REFERRAL, agency="north-clinic", duty="intake")
    return ReadEvent(
        id=name or f"evt_{sequence}", source="urn:concert:test-local:health", service="health",
        topic=STEPS["health"],
        key=REFERRAL, subject=REFERRAL, correlation=REFERRAL, caused_by=None, sequence=sequence,
        at=datetime(2026, 11, 24, tzinfo=UTC), type="", dataschema="", body=body, digest=digest,
    )  # fmt: skip


STREAM = stream_of(an_event(1))


def numbers(events: list[ReadEvent]) -> list[int]:
    return [event.sequence for event in events]


def test_events_in_their_turn_are_taken() -> None:
    turn = sort_out([an_event(4), an_event(5)], {STREAM: 3}, WITHDRAW)

    assert numbers(turn.next) == [4, 5]
    assert turn.last[STREAM] == 5


def test_an_event_behind_a_hole_waits_and_moves_nothing() -> None:
    turn = sort_out([an_event(5)], {STREAM: 3}, WITHDRAW)

    assert numbers(turn.waiting) == [5]
    assert turn.last[STREAM] == 3


def test_a_withdrawal_is_acted_on_across_a_hole_and_waits_on_besides() -> None:
    event = an_event(5, withdraws=True)

    turn = sort_out([event], {STREAM: 3}, WITHDRAW)
    result = taken(turn, new={(event.source, event.id)}, seen={})

    assert result.fresh == [event]
    assert result.unusable == [(event, Reason.SEQUENCE_GAP)]


def test_holes_are_normal_on_a_compacted_topic() -> None:
    event = replace(an_event(9), topic=GOVERNANCE_STATE)

    turn = sort_out([event], {stream_of(event): 3}, WITHDRAW)

    assert numbers(turn.next) == [9]


def test_a_repeat_does_nothing() -> None:
    event = an_event(3)

    turn = sort_out([event], {STREAM: 3}, WITHDRAW)
    result = taken(turn, new=set(), seen={(event.source, event.id): b"same"})

    assert (result.fresh, result.unusable, result.duplicates) == ([], [], 1)


def test_a_repeat_with_other_content_is_refused() -> None:
    event = an_event(3, digest=b"other")

    turn = sort_out([event], {STREAM: 3}, WITHDRAW)
    result = taken(turn, new=set(), seen={(event.source, event.id): b"same"})

    assert result.unusable == [(event, Reason.CHANGED_DUPLICATE)]


def test_an_id_used_again_for_another_event_is_refused() -> None:
    event = an_event(4, name="evt_1", digest=b"other")

    turn = sort_out([event], {STREAM: 3}, WITHDRAW)
    result = taken(turn, new=set(), seen={(event.source, event.id): b"same"})

    assert result.unusable == [(event, Reason.CHANGED_DUPLICATE)]


def test_an_event_twice_in_one_batch_takes_effect_once() -> None:
    event = an_event(4)

    turn = sort_out([event, event], {STREAM: 3}, WITHDRAW)
    result = taken(turn, new={(event.source, event.id)}, seen={(event.source, event.id): b"same"})

    assert (result.fresh, result.duplicates) == ([event], 1)


def test_any_shuffle_with_repeats_applies_each_once_and_in_order() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        arriving = [an_event(number) for number in range(1, 9)] * 2
        chance.shuffle(arriving)

        applied: list[int] = []
        last: dict[Stream, int] = {}
        seen: dict[tuple[str, str], bytes] = {}
        while len(applied) < 8:  # what waits comes again, as a redrive brings it
            turn = sort_out(arriving, last, WITHDRAW)
            fresh = {(event.source, event.id) for event in turn.next} - seen.keys()
            applied += numbers(taken(turn, fresh, seen).fresh)
            seen |= {(event.source, event.id): event.digest for event in turn.next}
            last = turn.last

        assert applied == [1, 2, 3, 4, 5, 6, 7, 8], f"seed {seed}"
