"""The long form: `python -m tests.simulation --seeds 20000`, or `--seed 17` to see one again."""

import argparse
import sys
import time

from tests.simulation.quiet import quiet
from tests.simulation.run import Run
from tests.simulation.world import Violation


def main() -> int:
    """Run seeds until one fails; that one is told step by step."""
    words = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    words.add_argument("--seeds", type=int, default=20_000)
    words.add_argument("--seed", type=int)
    told = words.parse_args()
    quiet()
    began = time.monotonic()
    seeds = range(told.seeds) if told.seed is None else [told.seed]
    for seed in seeds:
        run = Run(seed)
        try:
            run.go()
        except Violation as broken:
            print(*run.world.told, f"seed {seed}: {broken}", sep="\n")
            return 1
    print(f"{len(seeds)} seeds, no promise broken, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
