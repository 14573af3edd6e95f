"""`python -m tests.fault RUN [--seed S] [--soak] [--json]`, which `concert fault` starts."""

import argparse
import asyncio
import json
import secrets
import shutil
import sys
from pathlib import Path

from deploy.local.places import temporary_directory
from tests.fault.disks import why_no_disk
from tests.fault.runs import PLANS, perform


def main() -> int:
    words = argparse.ArgumentParser(prog="concert fault")
    words.add_argument("run", choices=PLANS)
    words.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    words.add_argument("--soak", action="store_true")
    words.add_argument("--json", action="store_true")
    words.add_argument("--keep", type=Path, help="Where the history and all logs go.")
    chosen = words.parse_args()
    plan = PLANS[chosen.run][chosen.soak]
    if plan.cuts and not plan.kills and (why := why_no_disk()):
        _say(f"skipped: {plan.cuts} power cuts, for {why}")
        return 1
    with temporary_directory("concert-fault-") as folder:
        verdict = asyncio.run(perform(chosen.run, plan, chosen.seed, folder, _say))
        if chosen.keep:
            shutil.copytree(folder / "installation" / "logs", chosen.keep)
            shutil.copy(folder / "history.jsonl", chosen.keep)
    if chosen.json:
        print(json.dumps(verdict, indent=1))
    else:
        print("\n".join(f"{name}: {told}" for name, told in verdict.items()))
    return 0 if verdict["holds"] else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
