"""A reader that comes back after an upgrade reads what the new code asks for."""

from collections.abc import Sequence

from schemas.topics import STEPS
from tests.integration.test_runtime_offsets import sent
from tests.support.platform import Space
from tests.support.readers import Reader
from tests.support.waiting import until


async def test_a_reader_that_comes_back_with_other_topics_gets_those(space: Space) -> None:
    """The brokers hand a static member its old partitions: an upgrade must not come back as the same one."""
    await until_read(Reader(space), await sent(space, STEPS["police"], 1))
    keys = await sent(space, STEPS["health"], 2)

    # The old member's partitions come free when its session has ended.
    await until_read(Reader(space, topics=[STEPS["health"]]), keys)


async def until_read(reader: Reader, keys: Sequence[str]) -> None:
    async with reader.running():
        await until(lambda: reader.applied_of(keys) == keys, within_seconds=60)
