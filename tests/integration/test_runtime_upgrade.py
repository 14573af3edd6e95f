"""A reader that comes back after an upgrade reads what the new code asks for."""

from collections.abc import Sequence

import pytest

from schemas.topics import STEPS
from services.runtime import kafka
from tests.integration.test_runtime_offsets import sent
from tests.support.platform import Space
from tests.support.readers import Reader
from tests.support.waiting import until


async def test_a_reader_that_comes_back_with_other_topics_gets_those(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brokers hand a static member its old partitions: an upgrade must not come back as the same one."""
    monkeypatch.setattr(kafka, "SESSION_MS", 6_000)  # the least that brokers take
    await until_read(Reader(space), await sent(space, STEPS["police"], 1))
    keys = await sent(space, STEPS["health"], 2)

    # The old member's partitions come free when its session has ended.
    await until_read(Reader(space, topics=[STEPS["health"]]), keys)


async def until_read(reader: Reader, keys: Sequence[str]) -> None:
    async with reader.running():
        await until(lambda: reader.applied_of(keys) == keys, within_seconds=60)
