"""Where a reader goes on, whatever became of the topic."""

from uuid import UUID

import pytest

from services.runtime.offsets import PartitionLog, Place, ReadingStart, start_of

TOPIC = UUID(int=1)
MADE_ANEW = UUID(int=2)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, ReadingStart(10)),
        ((TOPIC, 15), ReadingStart(15)),
        ((TOPIC, 10), ReadingStart(10)),
        ((TOPIC, 20), ReadingStart(20)),
        ((MADE_ANEW, 15), ReadingStart(10, "topic_made_anew", "from 15 to 10")),
        ((TOPIC, 21), ReadingStart(10, "brokers_lost_records", "from 21 to 10")),
        ((TOPIC, 9), ReadingStart(10, "retention_overtook_reader", "from 9 to 10")),
    ],
)
def test_a_reader_goes_on_where_nothing_is_skipped_silently(
    stored: Place | None, expected: ReadingStart
) -> None:
    assert start_of(stored, PartitionLog(TOPIC, beginning=10, end=20)) == expected
