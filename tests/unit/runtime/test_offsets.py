"""Where a reader goes on, and how far a transaction moves it."""

from uuid import UUID

import pytest

from services.runtime.batch import halves, moves_of, still_to_do
from services.runtime.offsets import Log, Position, Stored, position
from tests.support.records import a_record

TOPIC = UUID(int=1)
MADE_ANEW = UUID(int=2)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, Position(10, changed=True)),
        (Stored(TOPIC, 15), Position(15, changed=False)),
        (Stored(TOPIC, 10), Position(10, changed=False)),
        (Stored(TOPIC, 20), Position(20, changed=False)),
        (Stored(MADE_ANEW, 15), Position(10, changed=True, alarm="topic_made_anew", reason="from 15 to 10")),
        (Stored(TOPIC, 21), Position(10, changed=True, alarm="brokers_lost_records", reason="from 21 to 10")),
        (
            Stored(TOPIC, 9),
            Position(10, changed=True, alarm="retention_overtook_reader", reason="from 9 to 10"),
        ),
    ],
)
def test_a_reader_goes_on_where_nothing_is_skipped_silently(
    stored: Stored | None, expected: Position
) -> None:
    assert position(stored, Log(TOPIC, beginning=10, end=20)) == expected


def test_offsets_move_from_what_was_processed_not_from_the_first_record() -> None:
    records = [a_record(topic="t", partition=0, offset=7), a_record(topic="t", partition=0, offset=9)]

    moves = moves_of(records, expected={("t", 0): 3}, ids={"t": TOPIC})

    assert (moves["t", 0].expected, moves["t", 0].next) == (3, 10)


def test_records_of_before_and_of_others_are_left_out() -> None:
    records = [
        a_record(partition=0, offset=4),
        a_record(partition=0, offset=5),
        a_record(partition=1, offset=5),
    ]

    left = still_to_do(records, expected={("t", 0): 5})

    assert [(record.partition, record.offset) for record in left] == [(0, 5)]


def test_halves_keep_the_order_and_lose_nothing() -> None:
    records = [a_record(offset=offset) for offset in range(5)]

    first, second = halves(records)

    assert [*first, *second] == records
    assert first
    assert second
