"""`python -m tests.bench.release`: what a release costs at the vault with every check, a decision, a pull.

Medians of a few runs on one core, in CPU time and by the clock: two groups a release, keys adopted, verdicts
on public documents kept as in a running vault. A pull goes over HTTP through two sectors of an installation
that does nothing else.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic_core import to_json

from deploy.local.places import temporary_directory
from deploy.local.subprocesses import silence as silent
from schemas.events.policy import PullFacts, compile_pulls, decide
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, AgencyClient
from services.cli.demo.trial import listening, running_trial, set_up
from services.sector.vault.operations import Vault
from tests.support.vault_scene import Pull, Watch, a_protocol, a_pull, a_vault, adopted, frame_of

RUNS: Final = 5
RELEASES: Final = 400
DECISIONS: Final = 100_000
WARM: Final = 5
PULLS: Final = 60
AT_LEAST_PER_SECOND: Final = 400


def releases(vault: Vault, pull: Pull, clock: Callable[[], float]) -> float:
    """Releases a second; asking for permits is no part of it."""
    requests = [pull.request() for _ in range(RELEASES)]
    frames = [to_json(frame_of(one)) for one in requests]
    began = clock()
    answers = [vault.answer(frame) for frame in frames]
    spent = clock() - began
    assert all(answer.startswith(b'{"ok"') for answer in answers)
    return RELEASES / spent


def decision_microseconds() -> float:
    """One decision of the compiled table, for six groups."""
    table = compile_pulls(a_protocol().document)
    facts = PullFacts("health", ("contact", "protection", "clinical", "narrative"), "care", "consent")
    began = time.process_time()
    for _ in range(DECISIONS):
        decide(facts, table)
    return (time.process_time() - began) / DECISIONS * 1e6


async def pull_milliseconds(folder: Path) -> list[float]:
    """How long each of some pulls takes, one after the other."""
    async with running_trial(folder / "installation", silent, more={}) as trial:
        await set_up(trial)
        first = {client.agency.sector: client for client in trial.clients.values()}
        owner, nurse = first["social_services"], first["health"]
        async with listening(trial.clients.values()):
            body = await owner.prepare(nurse.agency)
            await owner.write_packet(body["case"], {"contact": {}})
            sent = await owner.offer(body)
            for step in (ACKNOWLEDGE, ACCEPT):
                await nurse.told(sent.referral, "referral.offered")
                asked = await nurse.step(sent.referral, step)
                assert asked
                await nurse.answer(asked)
            await owner.told(sent.referral, "referral.accepted")
            return [await _timed(nurse, sent.referral) for _ in range(WARM + PULLS)][WARM:]


async def _timed(nurse: AgencyClient, referral: str) -> float:
    began = time.perf_counter()
    assert (await nurse.pull_packet(referral, ["contact"])).is_success
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Measure, and print a line for each figure."""
    with temporary_directory("concert-bench-") as folder:
        vault = a_vault(folder, Watch())
        pull = adopted(a_pull(vault))
        for name, clock in (("CPU", time.process_time), ("clock", time.perf_counter)):
            rate = statistics.median(releases(vault, pull, clock) for _ in range(RUNS))
            print(f"releases a second, {name}: {rate:.0f} (at least {AT_LEAST_PER_SECOND})")
        spent = asyncio.run(pull_milliseconds(folder))
        print(f"a pull, p50: {statistics.median(spent):.1f} ms (at most 40), slowest {max(spent):.1f} ms")
    print(f"a decision: {statistics.median(decision_microseconds() for _ in range(RUNS)):.2f} µs (at most 5)")


if __name__ == "__main__":
    main()
