"""Batches of records as bytes, sound ones and such as no honest client sends."""

import struct
import time
import zlib
from collections.abc import Callable, Sequence

import cramjam
from aiokafka.codec import lz4_encode, snappy_encode
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c, encode_varint
from aiokafka.structs import TopicPartition

from tests.support.kafka import a_producer
from tests.support.platform import Space

CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (0, bytes),
    "gzip": (1, lambda content: _gzip(content)),
    "snappy": (2, snappy_encode),
    "snappy_raw": (2, lambda content: bytes(cramjam.snappy.compress_raw(content))),
    "lz4": (3, lz4_encode),
    "zstd": (4, lambda content: bytes(cramjam.zstd.compress(content))),
}
_ZEROS = bytes(1024 * 1024)
Headers = Sequence[tuple[bytes, bytes | None]]


def _gzip(content: bytes) -> bytes:
    packing = zlib.compressobj(9, wbits=31)
    return packing.compress(content) + packing.flush()


def _varint(number: int) -> bytes:
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def _sized(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def a_record(delta: int, key: bytes | None, headers: Headers, value: bytes | None) -> bytes:
    """One record inside a batch."""
    content = b"\x00" + _varint(0) + _varint(delta) + _sized(key) + _sized(value) + _varint(len(headers))
    content += b"".join(_sized(name) + _sized(text) for name, text in headers)
    return _sized(content)


def a_header_bomb(count: int) -> bytes:
    """One record that is nothing but headers, each without name and content: two zero bytes a header."""
    content = b"\x00" + _varint(0) + _varint(0) + _sized(None) + _sized(None) + _varint(count)
    return _sized(content + bytes(2 * count))


def a_gzip_bomb(mebibytes: int) -> bytes:
    """The packed form of one record whose value is zeros: about a thousandth of what it unpacks to."""
    size = mebibytes * len(_ZEROS)
    inner = b"\x00" + _varint(0) + _varint(0) + _varint(-1) + _varint(size)
    ends = _varint(len(inner) + size + 1) + inner, b"\x00"
    packing = zlib.compressobj(9, wbits=31)
    packed = packing.compress(ends[0]) + packing.flush(zlib.Z_FULL_FLUSH)
    block = [packing.compress(_ZEROS) + packing.flush(zlib.Z_FULL_FLUSH) for _ in range(2)][1]
    sealing = zlib.compressobj(9, wbits=-15)
    packed += block * mebibytes + sealing.compress(ends[1]) + sealing.flush()
    checksum = zlib.crc32(ends[0])
    for _ in range(mebibytes):
        checksum = zlib.crc32(_ZEROS, checksum)
    total = len(ends[0]) + size + 1
    return packed + struct.pack("<II", zlib.crc32(ends[1], checksum), total & 0xFFFFFFFF)


def a_batch(
    records: Sequence[bytes], base: int = 0, codec: str = "none", packed: bytes | None = None
) -> bytes:
    """A batch whose checksum holds, over these records, or over what is said to be their packed form."""
    number, pack = CODECS[codec]
    content = pack(b"".join(records)) if packed is None else packed
    at, last = int(time.time() * 1000), len(records) - 1  # brokers soon delete what is old
    covered = struct.pack(">hiqqqhii", number, last, at, at, -1, -1, -1, len(records)) + content
    return struct.pack(">qiibI", base, len(covered) + 9, 0, 2, calc_crc32c(covered)) + covered


async def send_batch(space: Space, user: str, topic: str, batch: bytes, partition: int = 0) -> int:
    """Send a batch as it is; the brokers' error code, 0 if they took it."""
    async with a_producer(space, user) as producer:
        await producer.partitions_for(topic)
        node = producer.client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=30_000, topics=[(topic, [(partition, batch)])]
        )
        answer = await producer.client.send(node, request)
    return int(answer.topics[0][1][0][1])
