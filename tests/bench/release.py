"""`python -m tests.bench.release`: what a release costs at the vault with every check, and a decision.

Medians of a few runs on one core, in CPU time and by the clock: two groups a release, keys adopted, verdicts
on public documents kept as in a running vault.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic_core import to_json

from schemas.events.policy import PullFacts, compile_pulls, decide
from services.sector.vault.operations import Vault
from tests.support.vault_scene import Pull, Watch, a_protocol, a_pull, a_vault, adopted

RUNS: Final = 5
RELEASES: Final = 400
DECISIONS: Final = 100_000
AT_LEAST_PER_SECOND: Final = 400


def releases(vault: Vault, pull: Pull, clock: Callable[[], float]) -> float:
    """Releases a second; asking for permits is no part of it."""
    requests = [pull.request() for _ in range(RELEASES)]
    frames = [to_json(one.model_dump(mode="json", exclude_none=True)) for one in requests]
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


def main() -> None:
    """Measure, and print a line for each figure."""
    with tempfile.TemporaryDirectory() as folder:
        vault = a_vault(Path(folder), Watch())
        pull = adopted(a_pull(vault))
        for name, clock in (("CPU", time.process_time), ("clock", time.perf_counter)):
            rate = statistics.median(releases(vault, pull, clock) for _ in range(RUNS))
            print(f"releases a second, {name}: {rate:.0f} (at least {AT_LEAST_PER_SECOND})")
    print(f"a decision: {statistics.median(decision_microseconds() for _ in range(RUNS)):.2f} µs (at most 5)")


if __name__ == "__main__":
    main()
