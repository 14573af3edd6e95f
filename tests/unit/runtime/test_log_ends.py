"""Which logs have lost what was sent: from samples, and from what brokers said when they took it."""

from unittest.mock import Mock
from uuid import UUID

import pytest

from services.runtime.kafka import LogShortened, RelayProducer
from services.runtime.log_ends import LostStretch, lost_stretches

PLACE = ("t", 0)
ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("sample", "acked", "found", "lost"),
    [
        (None, {}, (ONE, 0), []),
        ((ONE, 5), {}, (ONE, 5), []),
        ((ONE, 5), {PLACE: 7}, (ONE, 9), []),
        ((ONE, 5), {}, (ONE, 4), [LostStretch(PLACE, 4)]),
        ((ONE, 5), {PLACE: 7}, (ONE, 6), [LostStretch(PLACE, 6)]),
        (None, {PLACE: 7}, (ONE, 6), [LostStretch(PLACE, 6)]),
        ((ONE, 5), {}, (OTHER, 9), [LostStretch(PLACE, None)]),
    ],
    ids=[
        "first look",
        "the same",
        "grown",
        "shorter than a sample",
        "shorter than acked",
        "acked",
        "another",
    ],
)
def test_a_log_that_is_shorter_or_another_one_has_lost_something(
    sample: tuple[UUID, int] | None,
    acked: dict[tuple[str, int], int],
    found: tuple[UUID, int],
    lost: list[LostStretch],
) -> None:
    assert lost_stretches({PLACE: sample} if sample else {}, {PLACE: found}, acked) == lost


def test_brokers_that_write_before_the_end_that_they_had_told_have_lost_it() -> None:
    producer = RelayProducer(Mock(), Mock())
    producer._acked(PLACE, 10, 5)
    producer._acked(PLACE, -1, 1)  # what they had already, as they say of a repeat
    assert producer.acked == {PLACE: 15}

    with pytest.raises(LogShortened):
        producer._acked(PLACE, 14, 3)

    assert producer._shortened == {PLACE: 14}
