"""A short trial of the runs of `concert fault`: with refill nothing is lost, without it the loss is seen."""

from dataclasses import replace

from deploy.local.places import temporary_directory
from services.cli.talk import say
from tests.fault.runs import SHORT, WITHOUT_REFILL, under_load, verdict_of
from tests.support.servers import unflushed

SEED = 11


async def test_nothing_is_lost_under_strikes_and_without_refill_the_same_run_sees_the_loss() -> None:
    with temporary_directory("concert-fault-") as folder, unflushed():
        async with under_load(folder, SHORT, SEED, say) as run:
            verdict = await verdict_of(run, "R1")
            assert verdict["holds"], "\n".join(map(str, verdict.items()))
            assert verdict["steps"] == verdict["requests"]["ok"] > 0

            load = replace(run.load, seed=SEED + 1, played=[], failures=[])
            blind = replace(run, plan=WITHOUT_REFILL, load=load, done=[])
            verdict = await verdict_of(blind, "R2")
            assert verdict["holds"], "a harness that cannot see a loss proves nothing"
