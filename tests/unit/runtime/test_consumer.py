from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

from aiokafka import TopicPartition

from services.runtime.consumer import Consumer

BUSY, ALSO_BUSY, QUIET = (TopicPartition("steps", number) for number in range(3))


class Brokers:
    """Gives all records of the first partition that has any, as aiokafka does from a fetch that it holds."""

    def __init__(self, held: Mapping[TopicPartition, int]) -> None:
        self.held = dict(held)

    def assignment(self) -> set[TopicPartition]:
        return {*self.held}

    async def getmany(self, *only: TopicPartition, timeout_ms: int, max_records: int) -> Mapping[Any, Any]:
        for partition, count in self.held.items():
            if count and (not only or partition in only):
                self.held[partition] -= min(count, max_records)
                return {partition: [object()] * min(count, max_records)}
        return {}


async def test_a_partition_with_a_mountain_of_records_waits_until_all_others_had_their_turn() -> None:
    batches = Mock(is_other=Mock(return_value=False))
    sizes = {"records_max": 500, "siblings": Mock(), "lease_seconds": 15}
    consumer = Consumer(batches, Mock(), Mock(group="readers"), Mock(), **sizes)  # type: ignore[arg-type]
    consumer._consumer = Brokers({BUSY: 300_000, ALSO_BUSY: 300_000, QUIET: 700})

    turns = [partition for _ in range(7) for partition in await consumer._fetch()]

    assert turns == [BUSY, ALSO_BUSY, QUIET, BUSY, ALSO_BUSY, QUIET, BUSY]
