"""Where a reader goes on, whatever became of the topic."""

from uuid import UUID

import pytest

from services.runtime.offsets import Log, Position, Stored, position

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
