"""A short trial of the runs of `concert fault`: nothing is lost, and without refill the loss is seen."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from deploy.local.places import temporary_directory
from services.cli.talk import say
from tests.fault.disks import why_no_disk
from tests.fault.runs import SHORT, WITHOUT_REFILL, FaultRun, under_load, verdict_of
from tests.fault.strikes import begin_flushing
from tests.support.servers import unflushed

SEED = 11


@pytest.fixture(scope="module")
async def run(anyio_backend: str) -> AsyncIterator[FaultRun]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_directory("concert-fault-"))
        with unflushed():
            begun = await stack.enter_async_context(under_load(folder, SHORT, SEED, say))
        yield begun


@pytest.fixture(scope="module")
async def verdict(run: FaultRun) -> Mapping[str, Any]:
    await begin_flushing(run.trial.platform, run.disks)
    return await verdict_of(run, "R1")


async def test_nothing_is_lost_under_strikes(verdict: Mapping[str, Any]) -> None:
    assert verdict["holds"], "\n".join(map(str, verdict.items()))
    assert verdict["steps"] == verdict["requests"]["ok"] > 0


@pytest.mark.skipif(bool(why_no_disk()), reason="only root may mount a disk of its own")
async def test_nothing_is_lost_when_the_power_of_brokers_and_database_is_cut(
    verdict: Mapping[str, Any],
) -> None:
    assert verdict["holds"]
    assert any(strike.startswith("power is cut") for strike in verdict["strikes"])


async def test_without_refill_the_same_run_sees_the_loss(run: FaultRun, verdict: Mapping[str, Any]) -> None:
    load = replace(run.load, seed=SEED + 1, played=[], failures=[])
    blind = replace(run, plan=WITHOUT_REFILL, load=load, done=[])

    assert (await verdict_of(blind, "R2"))["holds"], "a harness that cannot see a loss proves nothing"
