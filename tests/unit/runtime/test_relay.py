"""The relay's decisions: order, waiting, numbering."""

from types import SimpleNamespace

from services.runtime.outbox import numbered, shard_of
from services.runtime.relay import POLL_SECONDS, in_order, next_wait


def test_rows_go_out_in_the_order_in_which_they_were_written() -> None:
    rows = [SimpleNamespace(id=3), SimpleNamespace(id=1), SimpleNamespace(id=2)]

    assert [row.id for row in in_order(rows)] == [1, 2, 3]


def test_behind_a_full_round_nobody_waits() -> None:
    assert next_wait(500, 500, 0.0) == 0.0


def test_an_idle_relay_waits_longer_and_longer_up_to_a_limit() -> None:
    waits, idle = [], 0.0
    for _ in range(8):
        idle = next_wait(0, 500, idle)
        waits.append(idle)

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == POLL_SECONDS


def test_numbers_go_on_within_each_key_and_end_at_its_last() -> None:
    one, two = ("t", b"one"), ("t", b"two")

    assert numbered([one, two, one], {one: 7, two: 1}) == [6, 1, 7]


def test_events_of_one_key_share_a_shard() -> None:
    shards = {shard_of(f"key-{number}".encode(), 4) for number in range(100)}

    assert shards == {0, 1, 2, 3}
    assert shard_of(b"key", 4) == shard_of(b"key", 4)
