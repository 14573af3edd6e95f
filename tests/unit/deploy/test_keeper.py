"""How long a dead part stays down, and when it is not started."""

import asyncio
from pathlib import Path

import pytest

from deploy.local import keeper
from deploy.local.keeper import PartKeeper, delay_seconds
from deploy.local.parts import Part
from tests.support.waiting import until


class Broker(Part):
    """A part that would start at once, on a disk that is full or not."""

    is_vital = True
    is_disk_full = True
    stopped_within_seconds = 1.0
    starts = 0

    async def prepare(self) -> None: ...

    async def start(self) -> None:
        self.starts += 1

    async def answers(self) -> bool:
        return True

    async def wait(self) -> None:
        if not self.is_disk_full:
            await asyncio.Event().wait()


def test_the_delay_doubles_up_to_a_minute_and_the_part_is_tried_for_ever() -> None:
    assert [delay_seconds(deaths) for deaths in (1, 2, 3, 4, 5, 2000)] == [0.2, 0.4, 0.8, 1.6, 3.2, 60.0]


async def test_a_broker_is_not_started_without_room_in_which_it_would_empty_its_logs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keeper, "FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(keeper, "VITAL_DELAY_SECONDS_MAX", 0.001)
    part, said = Broker("kafka", tmp_path / "log"), list[str]()
    kept = PartKeeper(part, said.append, lambda: None)
    kept.settled.set()  # it was ready once

    keeping = asyncio.create_task(kept.keep(()))
    await until(lambda: any("cannot live, for its disk is full" in line for line in said))
    before, part.is_disk_full = part.starts, False
    await asyncio.wait_for(kept.ready.wait(), 30)
    keeping.cancel()

    assert (before, part.starts) == (0, 1)
