"""How this service's clients connect to the brokers: SCRAM over the settings' one user."""

import asyncio
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import aiokafka.conn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.wire.envelope import HEADERS
from services.runtime import administration
from services.runtime.clock import Clock
from services.runtime.crash import crash_point
from services.runtime.errors import Unavailable
from services.runtime.identity import Identity
from services.runtime.metrics import SENT
from services.runtime.offsets import Partition, Place
from services.runtime.records import bound_fetching
from services.runtime.settings import KafkaSettings, secret_from

BATCH_BYTES_MAX: Final = 131_072
SESSION_MS: Final = 15_000
HEARTBEAT_MS: Final = 3_000
REBALANCE_MS: Final = 60_000
POLL_INTERVAL_MS: Final = 300_000
FETCH_WAIT_MS: Final = 2_000
"""How long the brokers hold a fetch while nothing comes; other questions on the connection wait as long."""
PARTITION_BYTES_MAX: Final = 1 << 20
METADATA_AGAIN_SECONDS: Final = 0.2
_HEADERS: Final = list(HEADERS)


class BrokerConnection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection that is lost, and says so, when something is written to it after the broker went.

    asyncio drops such a write, uvloop raises RuntimeError. That would end aiokafka's task which keeps the
    metadata, and whoever asks for them afterwards, a commit or a new place, waits for ever.
    """

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Send a request; raises KafkaConnectionError."""
        with self._lost_if_closed():
            return super().send(request, expect_response)

    def _send_sasl_token(self, payload: bytes, expect_response: bool = True) -> Any:
        with self._lost_if_closed():
            return super()._send_sasl_token(payload, expect_response)

    @contextmanager
    def _lost_if_closed(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as closed:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError("the connection was closed") from closed


aiokafka.conn.AIOKafkaConnection = BrokerConnection


def security(settings: KafkaSettings) -> Mapping[str, Any]:
    """What every aiokafka client of this service needs."""
    return {
        "bootstrap_servers": settings.bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": settings.user,
        "sasl_plain_password": secret_from(settings.password_file).get_secret_value(),
    }


def member_of(identity: Identity, topics: Sequence[str]) -> str:
    """A static member's id, another one for other topics.

    The brokers give a member that comes back its old partitions without a look at what it now asks for.
    """
    return f"{identity.service}-{identity.process}-{zlib.crc32(' '.join(sorted(topics)).encode()):08x}"


def new_consumer(
    settings: KafkaSettings,
    identity: Identity,
    topics: Sequence[str],
    gather_ms: int,
    lease_seconds: float = SESSION_MS / 1000,
) -> AIOKafkaConsumer:
    """A consumer that is not started; a static member keeps its partitions over a restart."""
    bound_fetching()
    return AIOKafkaConsumer(
        group_id=identity.group,
        group_instance_id=member_of(identity, topics),
        enable_auto_commit=False,
        auto_offset_reset="none",  # where to go on is the database's word,
        isolation_level="read_committed",
        session_timeout_ms=int(lease_seconds * 1000),
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_MS,
        max_poll_interval_ms=POLL_INTERVAL_MS,
        max_partition_fetch_bytes=PARTITION_BYTES_MAX,
        fetch_min_bytes=PARTITION_BYTES_MAX if gather_ms else 1,
        fetch_max_wait_ms=gather_ms or FETCH_WAIT_MS,
        **security(settings),
    )


def topic_ids(settings: KafkaSettings, names: Sequence[str]) -> Mapping[str, UUID]:
    """Kafka's own ids of topics (KIP-516), which aiokafka does not tell; blocks."""
    password = secret_from(settings.password_file).get_secret_value()
    with administration.connect(settings.bootstrap, settings.user, password) as admin:
        return administration.topic_ids(admin, names)


def log_ends(settings: KafkaSettings, names: Sequence[str]) -> dict[Partition, Place]:
    """Kafka's own id of each topic, and where each of its partitions ends; blocks."""
    password = secret_from(settings.password_file).get_secret_value()
    with administration.connect(settings.bootstrap, settings.user, password) as admin:
        ids = administration.topic_ids(admin, names)
        ends = administration.ends(admin, [*ids]) if ids else {}
    return {one: (ids[one[0]], following) for one, following in ends.items()}


def minute_ms(at: datetime) -> int:
    """The record timestamp of whatever is sent: the minute, as in `time`, on every topic alike.

    With the producer's own milliseconds whoever reads the log could join a referral to a person's visit.
    """
    return int(at.timestamp()) // 60 * 60_000


class LogShortened(KafkaError):  # type: ignore[misc]
    """The brokers wrote before the place up to which they said that they hold this service's records."""


class RelayProducer:
    """An idempotent producer that waits for every broker's yes; connects when it is first used."""

    def __init__(self, settings: KafkaSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._producer: AIOKafkaProducer | None = None
        self.acked: dict[Partition, int] = {}
        """The offset after the last record of each partition that brokers said they hold."""
        self._shortened: dict[Partition, int] = {}

    async def __call__(self, rows: Sequence[Any]) -> Mapping[Partition, int]:
        """Send rows in order; returns once the brokers hold all of them, and up to where; else KafkaError."""
        producer = await self._connected()
        at = minute_ms(self._clock.now())
        try:
            batches = [
                (partition, batch)
                for partition, share in (await _by_partition(producer, rows)).items()
                for batch in _batches(producer, share, at)
            ]
            sent = [
                await producer.send_batch(batch, topic, partition=part) for (topic, part), batch in batches
            ]
            crash_point("relay.sent")  # some may have arrived; the same ids go out again
            for (partition, batch), place in zip(batches, await asyncio.gather(*sent), strict=True):
                self._acked(partition, place.offset, batch.record_count())
                SENT.labels(partition[0]).inc(batch.record_count())
            return {partition: self.acked[partition] for partition, _ in batches}
        except BaseException:
            await self.close()  # its numbering is broken off, also where a batch was not even taken
            raise

    async def log_ends(self, topics: Sequence[str]) -> dict[Partition, Place]:
        """Kafka's own id of each topic, and where each partition's log ends; raises Unavailable."""
        try:
            found = await asyncio.to_thread(log_ends, self._settings, topics)
        except administration.FAILURES as error:
            raise Unavailable("the brokers do not answer") from error
        shortened, self._shortened = self._shortened, {}
        return {
            one: (topic_id, min(following, shortened.get(one, following)))
            for one, (topic_id, following) in found.items()
        }

    async def close(self) -> None:
        """Flush and disconnect."""
        producer, self._producer = self._producer, None
        if producer:
            await producer.stop()

    def _acked(self, partition: Partition, offset: int, count: int) -> None:
        """Note where the brokers wrote; before the end that they had told, they have lost what was there."""
        if 0 <= offset < self.acked.get(partition, 0):
            self._shortened[partition] = offset
            raise LogShortened
        self.acked[partition] = max(offset + count, self.acked.get(partition, 0))

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=BATCH_BYTES_MAX,
                **security(self._settings),
            )
            be_patient(producer.client)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer


def be_patient(client: Any) -> None:
    """Let a client pause where nobody tells it the leaders; aiokafka's sender asks again without any pause.

    A broker that ends in order takes its partitions' leaders away first, and each service with something to
    send would then ask a closed port, and write so to its log, two thousand times a second.
    """
    update = client._metadata_update

    async def updated(*asked: Any) -> bool:
        is_told = bool(await update(*asked))
        if not is_told:
            await asyncio.sleep(METADATA_AGAIN_SECONDS)
        return is_told

    client._metadata_update = updated


async def _by_partition(
    producer: AIOKafkaProducer, rows: Sequence[Any]
) -> dict[tuple[str, int], list[tuple[bytes, bytes]]]:
    """Keys and values of each partition, in order; a key's partition is that of Kafka's own clients."""
    counts = {topic: len(await producer.partitions_for(topic)) for topic in {row.topic for row in rows}}
    shares: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
    for _, topic, key, value, *_ in rows:
        shares.setdefault((topic, _key_hash(key) % counts[topic]), []).append((key, value))
    return shares


@lru_cache(maxsize=10_000)  # each fact has three readers, and the hash is written in Python
def _key_hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def _batches(
    producer: AIOKafkaProducer, records: Sequence[tuple[bytes, bytes]], at: int
) -> Iterator[BatchBuilder]:
    """Whole batches of one partition, made here: aiokafka's `send` costs several times as much a record."""
    batch = producer.create_batch()
    for key, value in records:
        if batch.append(timestamp=at, key=key, value=value, headers=_HEADERS) is None:  # full
            yield batch
            batch = producer.create_batch()
            batch.append(timestamp=at, key=key, value=value, headers=_HEADERS)
    yield batch
