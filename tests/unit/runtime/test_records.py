"""What the brokers hand over is read within limits; what is broken costs itself, and nothing around it."""

import resource
import struct
import time
from collections.abc import Sequence
from typing import Any

import cramjam
import pytest
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from schemas.wire.cloudevents import RECORD_BYTES_MAX
from services.runtime.records import (
    HEADERS_MAX,
    UNPACKED_BYTES_MAX,
    FetchedBatches,
    PartitionReader,
    Record,
)
from tests.support.record_batches import CODECS, a_batch, a_gzip_bomb, a_header_bomb, a_record

MIB = 1024 * 1024


def some(first: int, count: int = 3) -> list[bytes]:
    """Records whose values are their offsets."""
    return [a_record(delta, b"key", [(b"h", b"x")], b"%d" % (first + delta)) for delta in range(count)]


def read(content: bytes, position: int = 0) -> list[Record]:
    """What a consumer at this position gets of an answer of the brokers."""
    return reader(content, position)[0]


def reader(content: bytes, position: int = 0, aborted: Any = None) -> tuple[list[Record], int]:
    batches = FetchedBatches(content)
    assert batches.has_next()
    partition = TopicPartition("t", 0)
    it = PartitionReader(
        partition, batches, aborted, position, None, None, check_crcs=True, isolation_level=1
    )
    return list(it), it.next_fetch_offset


def told(records: Sequence[Record]) -> list[Any]:
    """Good records by value, others by reason and offsets."""
    return [
        (str(one.reason), one.offset if one.first is None else (one.first, one.offset))
        if one.reason
        else int(one.value or b"")
        for one in records
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_of_kafka_is_read(codec: str) -> None:
    (first, *_), position = reader(a_batch(some(7, 500), 7, codec))

    assert (first.key, first.value, first.headers, first.offset) == (b"key", b"7", (("h", b"x"),), 7)
    assert told(read(a_batch(some(7, 500), 7, codec), 300)) == list(range(300, 507))
    assert position == 507


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_header_whose_name_is_no_text_costs_its_own_record(place: int) -> None:
    records = some(0)
    records[place] = a_record(place, b"key", [(b"trace\xff", b"1")], b"value")

    found = read(a_batch(records))

    assert (found[place].reason, found[place].offset, found[place].value) == ("bad_header", place, b"value")
    assert found[place].headers == (("trace\\xff", b"1"),)
    assert [one.reason for one in found if one.offset != place] == [None, None]


@pytest.mark.parametrize(
    ("count", "told_of_it"), [(520_000, ("bad_header", 3)), (2_096_984, ("too_large_unpacked", (3, 3)))]
)
def test_220_bytes_that_hold_two_million_headers_cost_one_record_and_next_to_nothing(
    count: int, told_of_it: Any
) -> None:
    bomb = a_batch([a_header_bomb(count)], 3, "zstd")
    before, began = peak(), time.process_time()

    found = read(a_batch(some(0)) + bomb + a_batch(some(4), 4))

    assert told(found) == [0, 1, 2, told_of_it, 4, 5, 6]
    assert found[3].headers == ()
    assert peak() - before < 8 * MIB
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(("count", "reason"), [(HEADERS_MAX, None), (HEADERS_MAX + 1, "bad_header")])
def test_a_record_has_a_hundred_headers_at_most(count: int, reason: str | None) -> None:
    (found,) = read(a_batch([a_record(0, b"k", [(b"h", b"x")] * count, b"v")]))

    assert (found.reason, found.key, found.value) == (reason, b"k", b"v")


def test_500_records_of_a_megabyte_are_held_as_excerpts() -> None:
    bomb = a_record(0, b"key", [(b"h", b"x" * 300)], bytes(UNPACKED_BYTES_MAX - 400))
    at_most = a_record(0, b"key", [(b"h", b"x")], bytes(RECORD_BYTES_MAX - 5))
    packed = a_batch([bomb], codec="zstd")
    before = peak()

    held = [one for _ in range(500) for one in read(packed)]

    assert {(one.reason, len(one.value or b""), len(one.headers[0][1] or b"")) for one in held} == {
        ("oversize", 4096, 256)
    }
    assert not any(one.is_whole for one in held)
    assert peak() - before < 100 * MIB
    (whole,) = read(a_batch([at_most]))
    assert (whole.reason, whole.is_whole) == (None, True)


def test_no_flipped_byte_costs_another_batch_invents_a_record_or_stands_still() -> None:
    before, struck, after = (a_batch(some(first), first) for first in (0, 3, 6))
    for at in range(len(struck)):
        damaged = bytearray(struck)
        damaged[at] ^= 0xFF
        found, position = reader(before + bytes(damaged) + after)
        values = [one for one in told(found) if isinstance(one, int)]
        assert values[:3] == [0, 1, 2]
        if 8 <= at < 12:
            assert position in (3, 6)  # the length: from there on nothing can be told apart
        elif at == 16 or at >= 17:
            assert (told(found)[3:], position) == ([("corrupt_batch", (3, 5)), 6, 7, 8], 9), at
        else:
            assert values in ([*range(9)], [0, 1, 2, 6, 7, 8]), at


@pytest.mark.parametrize("at", [23, 26, 57, 60, 61, -1])
def test_behind_a_damaged_batch_at_the_end_nothing_is_skipped(at: int) -> None:
    """If its own word for where it ends is not sure, the reader goes on by one and asks again."""
    damaged = bytearray(a_batch(some(0)))
    damaged[at] ^= 0x01

    found, position = reader(bytes(damaged))

    assert position == (3 if at in (61, -1) else 1)
    assert told(found) == [("corrupt_batch", (0, position - 1))]


def bombs() -> dict[str, bytes]:
    """A megabyte each, or somewhat more, and much more once unpacked: the gzip one a gigabyte."""
    zeros = bytes(32 * MIB)
    return {
        "gzip": a_gzip_bomb(1024),
        "zstd": bytes(cramjam.zstd.compress(zeros)) * 100,
        "lz4": bytes(cramjam.lz4.compress(zeros)) * 4,
        "snappy": CODECS["snappy"][1](zeros),
        "snappy_raw": CODECS["snappy_raw"][1](zeros),
    }


def test_a_batch_that_unpacks_to_a_gigabyte_is_set_aside_before_memory_is_spent() -> None:
    packed = bombs()
    assert 900_000 < len(packed["gzip"]) < 1_100_000
    before = peak()
    for codec, content in packed.items():
        bomb = a_batch(some(3), 3, codec, packed=content)

        found, position = reader(a_batch(some(0)) + bomb + a_batch(some(6), 6))

        assert told(found) == [0, 1, 2, ("too_large_unpacked", (3, 5)), 6, 7, 8], codec
        assert position == 9
    assert peak() - before < UNPACKED_BYTES_MAX + 8 * MIB


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("codec", CODECS)
def test_what_does_not_unpack_or_holds_other_records_than_it_says_is_corrupt(codec: str) -> None:
    _, pack = CODECS[codec]
    content = b"".join(some(3))
    for packed in (
        pack(content)[:-1], pack(content[:-1]), pack(content + b"\x00"), b"", b"\xff" * 40,
        pack(b"\xff" * 40), pack(b"".join(some(3, 2))),
    ):  # fmt: skip
        found, position = reader(
            a_batch(some(0)) + a_batch(some(3), 3, codec, packed=packed) + a_batch(some(6), 6)
        )

        values = told(found)
        assert values[:3] + values[-3:] == [0, 1, 2, 6, 7, 8]
        assert [one for one in values[3:-3] if not isinstance(one, int)] in (
            [("corrupt_batch", (first, 5))] for first in (3, 4, 5)
        ) or values[3:-3] == [3, 4, 5], (codec, packed)
        assert position == 9


def test_what_transactions_broke_off_and_their_marks_are_for_nobody() -> None:
    def of_transaction(batch: bytes, attributes: int) -> bytes:
        covered = bytearray(batch[21:])
        struct.pack_into(">h", covered, 0, attributes)
        struct.pack_into(">q", covered, 22, 9)
        return batch[:17] + struct.pack(">I", calc_crc32c(bytes(covered))) + bytes(covered)

    mark = of_transaction(a_batch([a_record(0, b"\x00\x00\x00\x00", [], b"")], 3), 0x30)
    content = of_transaction(a_batch(some(0)), 0x10) + mark + of_transaction(a_batch(some(4), 4), 0x10)

    assert told(reader(content, aborted=[(9, 0)])[0]) == [4, 5, 6]


def test_a_batch_that_is_cut_off_is_not_there_yet() -> None:
    whole = a_batch(some(0))

    assert not FetchedBatches(whole[:-1]).has_next()
    assert FetchedBatches(whole[:-1]).size_in_bytes() == 0
    assert told(read(whole + whole[:70])) == [0, 1, 2]
