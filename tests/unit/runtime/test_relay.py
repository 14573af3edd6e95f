"""The relay's decisions: order, waiting, numbering."""

from types import SimpleNamespace

from services.runtime.outbox import numbered, shard_of
from services.runtime.relay import in_order


def test_rows_go_out_in_the_order_in_which_they_were_written() -> None:
    rows = [SimpleNamespace(id=3), SimpleNamespace(id=1), SimpleNamespace(id=2)]

    assert [row.id for row in in_order(rows)] == [1, 2, 3]


def test_numbers_go_on_within_each_key_and_end_at_its_last() -> None:
    one, two = ("t", b"one"), ("t", b"two")

    assert numbered([one, two, one], {one: 7, two: 1}) == [6, 1, 7]


def test_events_of_one_key_share_a_shard() -> None:
    shards = {shard_of(f"key-{number}".encode(), 4) for number in range(100)}

    assert shards == {0, 1, 2, 3}
    assert shard_of(b"key", 4) == shard_of(b"key", 4)
