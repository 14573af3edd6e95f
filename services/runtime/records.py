"""Batches of records as the brokers hand them over, read within limits: what is broken costs itself alone.

aiokafka unpacks a batch however large it grows, and one batch that it cannot read stops the whole consumer.
It has no seam for this, so `bound_fetching` puts `FetchedBatches` and `PartitionReader` in the place of its
own classes; they keep to what its fetcher asks of those. Lengths inside a batch are never trusted.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.util import calc_crc32c, decode_varint_py  # its twin in C reads beyond the end

from schemas.wire.cloudevents import RECORD_BYTES_MAX, LetterReason, Unusable

UNPACKED_BYTES_MAX: Final = 1024 * 1024
"""How much one batch may hold once it is unpacked; our own relay sends 128 KiB and packs nothing."""
HEADERS_MAX: Final = 100
"""How many headers a record may have; each costs thirty times its two bytes once it is read."""
EXCERPT_BYTES_MAX: Final = 4096
EXCERPT_HEADER_MAX: Final = 256
EXCERPT_HEADERS_MAX: Final = 16

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LENGTH_COUNTS_FROM: Final = 12
_CRC_COUNTS_FROM: Final = 21
_MAGIC: Final = 2
_CODEC, _BY_APPENDING, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16

Headers = tuple[tuple[str, bytes | None], ...]
_RawHeaders = list[tuple[bytes, bytes | None]]
_Parts = tuple[bytes | None, bytes | None]
"""Key and value."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, or with a `reason` what stands for those from `first` to `offset` that cannot be read."""

    topic: str
    partition: int
    offset: int
    timestamp: int = 0
    key: bytes | None = field(default=None, repr=False)
    value: bytes | None = field(default=None, repr=False)
    headers: Headers = field(default=(), repr=False)
    reason: LetterReason | None = None
    first: int | None = None
    is_whole: bool = True
    """False where only the beginning of each part was kept."""
    timestamp_type: ClassVar[int] = 0  # here and below: faust asks for them and makes nothing of them
    checksum: ClassVar[None] = None
    serialized_key_size: ClassVar[int] = -1
    serialized_value_size: ClassVar[int] = -1

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    @property
    def mark(self) -> int | None:
        """What tells it from another record at the same offset of a log that was refilled."""
        return None if self.reason else zlib.crc32(self.value or b"", zlib.crc32(self.key or b""))

    @property
    def stretch(self) -> str | None:
        """Which offsets it stands for, where they are several."""
        several = self.first is not None and self.first < self.offset
        return f"offsets {self.first} to {self.offset}" if several else None


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """The header of one batch, and its bytes."""

    base: int
    following: int
    """The offset after its last one, as it says itself."""
    attributes: int
    first_timestamp: int
    max_timestamp: int
    producer: int
    count: int
    is_whole: bool
    """Its checksum holds; it does not cover `base`."""
    packed: bytes = field(repr=False)


class FetchedBatches:
    """The batches of one partition in one answer of the brokers; stands for aiokafka's MemoryRecords."""

    def __init__(self, content: bytes | None) -> None:
        self._batches = list(_batches(content or b""))

    def has_next(self) -> bool:
        """Whether there is a whole batch; the brokers may cut off the last one."""
        return bool(self._batches)

    def size_in_bytes(self) -> int:
        """Nothing, where there is no batch: else aiokafka would skip an offset without a word."""
        return sum(len(batch.packed) for batch in self._batches)

    def __iter__(self) -> Iterator[RecordBatch]:
        return iter(self._batches)


def _batches(content: bytes) -> Iterator[RecordBatch]:
    at = 0
    while len(content) - at >= _HEADER.size:
        base, length, _, magic, crc, attributes, last_delta, first_at, max_at, producer, _, _, count = (
            _HEADER.unpack_from(content, at)
        )
        end = at + _LENGTH_COUNTS_FROM + length
        if length < _HEADER.size - _LENGTH_COUNTS_FROM or end > len(content):
            return
        is_whole = magic == _MAGIC and calc_crc32c(content[at + _CRC_COUNTS_FROM : end]) == crc
        packed = content[at + _HEADER.size : end]
        yield RecordBatch(
            base, base + last_delta + 1, attributes, first_at, max_at, producer, count, is_whole, packed
        )
        at = end


class PartitionReader(fetcher.PartitionRecords):  # type: ignore[misc]  # the library has no types
    """Reads one partition's batches in order; what cannot be read comes as a record with a reason."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Record]:
        batches = list(self._records)
        for place, (batch, beside) in enumerate(zip(batches, [*batches[1:], None], strict=True)):
            start = self.next_fetch_offset
            after = beside if beside and beside.is_whole else None
            if not _is_sound(batch, start, after, is_first=place == 0):
                self.next_fetch_offset = _behind(batch, start, after)
                yield self._unreadable(batch, start, LetterReason.CORRUPT_BATCH)
                if after is None:
                    return  # its length may be what is wrong, and then what follows is none: fetch again
            elif self._is_for_nobody(batch):
                self.next_fetch_offset = batch.following
            else:
                yield from self._records_of(batch)
                self.next_fetch_offset = batch.following

    def _records_of(self, batch: RecordBatch) -> Iterator[Record]:
        try:
            for record in records_of(batch, self._tp.topic, self._tp.partition):
                if record.offset >= self.next_fetch_offset:
                    self.next_fetch_offset = record.offset + 1
                    yield record
        except Unusable as unusable:
            start, self.next_fetch_offset = self.next_fetch_offset, batch.following
            if start < batch.following:
                yield self._unreadable(batch, start, unusable.reason)

    def _unreadable(self, batch: RecordBatch, first: int, reason: LetterReason) -> Record:
        last = self.next_fetch_offset - 1
        at = batch.max_timestamp if batch.is_whole else 0
        return Record(self._tp.topic, self._tp.partition, last, at, reason=reason, first=first)

    def _is_for_nobody(self, batch: RecordBatch) -> bool:
        """Whether the batch is a mark of transactions, or part of one that was broken off."""
        self._consume_aborted_up_to(batch.base)
        if batch.attributes & _CONTROL:
            if _is_abort(batch):
                self._aborted_producers.discard(batch.producer)
            return True
        return bool(batch.attributes & _TRANSACTIONAL) and batch.producer in self._aborted_producers


def bound_fetching() -> None:
    """Let every consumer of this process read through the classes of this file."""
    fetcher.MemoryRecords = FetchedBatches
    fetcher.PartitionRecords = PartitionReader


def _is_sound(batch: RecordBatch, start: int, after: RecordBatch | None, *, is_first: bool) -> bool:
    """Whether a batch is what was written, also its offsets, which no checksum covers."""
    if not batch.is_whole or batch.following <= max(start, batch.base):
        return False
    if batch.base < start:
        return is_first  # the brokers begin with the batch that holds the offset asked for
    return batch.base == start or after is None or batch.following <= after.base  # compaction leaves gaps


def _behind(batch: RecordBatch, start: int, after: RecordBatch | None) -> int:
    """Where to read on behind a batch that is not sound: never beyond what might be another batch's."""
    if after is not None and after.base > start:
        return after.base
    if batch.following > start and batch.following - batch.base == batch.count:
        return batch.following
    return start + 1


def _is_abort(batch: RecordBatch) -> bool:
    try:
        mark = next(records_of(batch, "", 0), None)
        return mark is not None and ControlRecord.parse(mark.key) == ABORT_MARKER
    except (Unusable, ValueError, TypeError, struct.error):
        return False


# codecs


def _gzip(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    content = unpacking.decompress(packed, UNPACKED_BYTES_MAX + 1)
    if len(content) > UNPACKED_BYTES_MAX:
        raise Unusable(LetterReason.TOO_LARGE_UNPACKED)
    if not unpacking.eof or unpacking.unused_data:
        raise Unusable(LetterReason.CORRUPT_BATCH)
    return content


def _snappy(packed: bytes) -> bytes:
    if not packed.startswith(_XERIAL):
        return _snappy_block(packed, UNPACKED_BYTES_MAX)
    blocks, at, left = [], _XERIAL_HEADER_BYTES, UNPACKED_BYTES_MAX
    while at < len(packed):
        (length,) = struct.unpack_from(">I", packed, at)
        block = packed[at + 4 : at + 4 + length]
        if len(block) < length:
            raise Unusable(LetterReason.CORRUPT_BATCH)
        blocks.append(_snappy_block(block, left))
        left -= len(blocks[-1])
        at += 4 + length
    return b"".join(blocks)


def _snappy_block(packed: bytes, bytes_max: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(packed) > bytes_max:  # what it says, and then may not exceed
        raise Unusable(LetterReason.TOO_LARGE_UNPACKED)
    return bytes(cramjam.snappy.decompress_raw(packed))


def _into_a_buffer(unpack: Callable[[bytes, bytearray], int]) -> Callable[[bytes], bytes]:
    def unpacked(packed: bytes) -> bytes:
        room = bytearray(UNPACKED_BYTES_MAX)
        try:
            size = unpack(packed, room)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):  # the library has no other sign for a buffer that is full
                raise Unusable(LetterReason.TOO_LARGE_UNPACKED) from None
            raise
        return bytes(memoryview(room)[:size])

    return unpacked


CODECS: Final[Mapping[int, Callable[[bytes], bytes]]] = {
    0: bytes,
    1: _gzip,
    2: _snappy,
    3: _into_a_buffer(cramjam.lz4.decompress_into),
    4: _into_a_buffer(cramjam.zstd.decompress_into),
}
"""Kafka's codecs by their number; each spends no more memory than its limit, whatever it is given."""


def unpacked(codec: int, packed: bytes) -> bytes:
    """The content of a batch; raises Unusable if it is broken, or larger than its limit."""
    try:
        return CODECS[codec](packed)
    except (KeyError, zlib.error, cramjam.DecompressionError, struct.error, ValueError) as error:
        raise Unusable(LetterReason.CORRUPT_BATCH) from error


# records


def records_of(batch: RecordBatch, topic: str, partition: int) -> Iterator[Record]:
    """The records of a batch, in order; raises Unusable where the rest cannot be read."""
    content = unpacked(batch.attributes & _CODEC, batch.packed)
    at, last = 0, batch.base - 1
    for _ in range(batch.count):
        try:
            at, delta, age, key, value, headers = _read_record(content, at)
        except (IndexError, ValueError):
            raise Unusable(LetterReason.CORRUPT_BATCH) from None
        offset = batch.base + delta
        if not last < offset < batch.following:
            raise Unusable(LetterReason.CORRUPT_BATCH)
        last = offset
        timestamp = batch.max_timestamp if batch.attributes & _BY_APPENDING else batch.first_timestamp + age
        yield _record((topic, partition, offset, timestamp), (key, value), headers)
    if at != len(content):
        raise Unusable(LetterReason.CORRUPT_BATCH)


def _record(place: tuple[str, int, int, int], parts: _Parts, headers: _RawHeaders | None) -> Record:
    """The record, with a reason if its headers are unfit; one larger than any event is cut to an excerpt.

    A reader holds hundreds of records at once, and a large one is refused by its size alone.
    """
    reason = LetterReason.BAD_HEADER if headers is None else None
    try:
        named: Headers = tuple([(name.decode("utf-8"), content) for name, content in headers or ()])
    except UnicodeDecodeError:
        named = tuple([(name.decode("utf-8", "backslashreplace"), it) for name, it in headers or ()])
        reason = LetterReason.BAD_HEADER
    size = sum([len(part or b"") for part in parts])
    size += sum([len(name) + len(content or b"") for name, content in named])
    if size <= RECORD_BYTES_MAX:
        return Record(*place, *parts, named, reason, is_whole=headers is not None)
    named = tuple(
        (name[:EXCERPT_HEADER_MAX], content and content[:EXCERPT_HEADER_MAX])
        for name, content in named[:EXCERPT_HEADERS_MAX]
    )
    key, value = (part and part[:EXCERPT_BYTES_MAX] for part in parts)
    return Record(*place, key, value, named, reason or LetterReason.OVERSIZE, is_whole=False)


def _read_record(
    content: bytes, at: int
) -> tuple[int, int, int, bytes | None, bytes | None, _RawHeaders | None]:
    """One record and where it ends; of too many headers none is read. Raises IndexError or ValueError."""
    length, at = decode_varint_py(content, at)
    end = at + length
    if length <= 0 or end > len(content):
        raise ValueError
    age, at = decode_varint_py(content, at + 1)
    delta, at = decode_varint_py(content, at)
    key, at = _bytes(content, at, end)
    value, at = _bytes(content, at, end)
    count, at = decode_varint_py(content, at)
    if not 0 <= count <= end - at:  # each takes two bytes and more
        raise ValueError
    if count > HEADERS_MAX:
        return end, delta, age, key, value, None
    headers = []
    for _ in range(count):
        name, at = _bytes(content, at, end)
        header, at = _bytes(content, at, end)
        if name is None:
            raise ValueError
        headers.append((name, header))
    if at != end:
        raise ValueError
    return end, delta, age, key, value, headers


def _bytes(content: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = decode_varint_py(content, at)
    if length < 0:
        return None, at
    if at + length > end:
        raise ValueError
    return content[at : at + length], at + length
