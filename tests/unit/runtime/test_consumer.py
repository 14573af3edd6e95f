from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from aiokafka import TopicPartition

from services.runtime import partition_alarms
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


async def test_who_reads_nothing_hears_too_that_an_operator_has_ended_an_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receipts = Mock(are_many=False, tell=AsyncMock())
    batches = Mock(receipts=receipts, redrive=AsyncMock(), expected={}, standing=[Mock()])
    sizes = {"records_max": 500, "siblings": Mock(), "lease_seconds": 15}
    database = Mock(transaction=lambda: nullcontext())
    consumer = Consumer(batches, database, Mock(group="readers"), Mock(), **sizes)  # type: ignore[arg-type]
    consumer._consumer = Brokers({})
    monkeypatch.setattr(partition_alarms, "standing", AsyncMock(return_value=[]))

    await consumer._look()

    assert batches.standing == []
