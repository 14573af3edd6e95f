"""The relay's decisions: numbers and shards."""

from services.runtime.outbox import numbered, shard_of


def test_numbers_go_on_within_each_key_and_end_at_its_last() -> None:
    one, two = ("t", b"one"), ("t", b"two")

    assert numbered([one, two, one], {one: 7, two: 1}) == [6, 1, 7]


def test_events_of_one_key_share_a_shard() -> None:
    shards = {shard_of(f"key-{number}".encode(), 4) for number in range(100)}

    assert shards == {0, 1, 2, 3}
    assert shard_of(b"key", 4) == shard_of(b"key", 4)
