"""What a whole installation takes: start, memory of each process, an acceptance until the desk can see it."""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Final

from deploy.local.places import temporary_directory
from services.cli.agency_client import ACCEPT, AgencyClient, listening
from services.cli.demo.founding import set_up
from services.cli.demo.trial import Trial, running_trial

RATE_PER_SECOND: Final = 50


def silent(_text: str) -> None:
    """Nobody needs the progress here."""


async def measure(acceptances: int) -> None:
    """Start on new data, start again, then send acceptances at a steady rate; prints all figures."""
    with temporary_directory("concert-bench-") as folder:
        for how in ("on new data", "again, warm"):
            began = time.perf_counter()
            async with running_trial(folder / "installation", silent) as trial:
                print(f"start {how}: {time.perf_counter() - began:.1f} s until everything is ready")
                if how == "again, warm":
                    await set_up(trial)
                    async with listening(trial.clients.values()):
                        await _accept(trial, acceptances)
                    _tell_memory(trial)


async def _accept(trial: Trial, acceptances: int) -> None:
    agencies = trial.agencies
    waiting = []
    for number in range(acceptances):
        owner = trial.client(agencies[number % len(agencies)])
        receiver = trial.client(agencies[(number + 3) % len(agencies)])
        waiting.append((receiver, await offered(owner, receiver)))
    seen: list[float] = []
    async with asyncio.TaskGroup() as group:
        for number, (receiver, referral) in enumerate(waiting):
            group.create_task(_seen_after(receiver, referral, number / RATE_PER_SECOND, seen))
    hundredths = statistics.quantiles(seen, n=100)
    print(
        f"{acceptances} acceptances at {RATE_PER_SECOND}/s, sent until in the receiver's worklist: "
        f"p50 {statistics.median(seen) * 1000:.0f} ms, p99 {hundredths[98] * 1000:.0f} ms"
    )


async def offered(owner: AgencyClient, receiver: AgencyClient) -> str:
    """A referral that its receiver knows of and has not answered."""
    sent = await owner.offer(await owner.prepare(receiver.agency, urgency="routine"))
    await receiver.told(sent.referral, "referral.offered")
    return sent.referral


async def _seen_after(receiver: AgencyClient, referral: str, wait_seconds: float, seen: list[float]) -> None:
    await asyncio.sleep(wait_seconds)
    began = time.perf_counter()
    await receiver.step(referral, ACCEPT)
    await receiver.told(referral, ACCEPT.fact)
    while not any(
        row["referral"] == referral and row["state"] == "accepted" for row in await receiver.read_worklist()
    ):
        await asyncio.sleep(0)
    seen.append(time.perf_counter() - began)


def _tell_memory(trial: Trial) -> None:
    total = 0.0
    for name in trial.platform.names:
        megabytes = memory_megabytes(trial.platform.pid(name))
        total += megabytes
        print(f"memory {name:16} {megabytes:6.0f} MB")
    print(f"memory {'all':16} {total:6.0f} MB (proportional set size)")


def memory_megabytes(pid: int | None) -> float:
    """The proportional set size of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) / 1024
