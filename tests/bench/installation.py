"""What a whole installation takes: start, memory of each process, an acceptance until the desk can see it."""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Final

from deploy.local.places import temporary_directory
from services.cli.demo.agencies import DESK
from services.cli.demo.clients import Client
from services.cli.demo.founding import found
from services.cli.demo.stage import Stage, listening, staged
from services.cli.demo.stories import ACCEPT

RATE_PER_SECOND: Final = 50


def silent(_text: str) -> None:
    """Nobody needs the progress here."""


async def measure(acceptances: int) -> None:
    """Start on new data, start again, then send acceptances at a steady rate; prints all figures."""
    with temporary_directory("concert-bench-") as folder:
        for how in ("on new data", "again, warm"):
            began = time.perf_counter()
            async with staged(folder / "installation", silent) as stage:
                print(f"start {how}: {time.perf_counter() - began:.1f} s until everything is ready")
                if how == "again, warm":
                    await found(stage, None)
                    async with listening(list(stage.clients.values())):
                        await _accept(stage, acceptances)
                    _tell_memory(stage)


async def _accept(stage: Stage, acceptances: int) -> None:
    agencies = stage.agencies
    waiting = []
    for number in range(acceptances):
        owner = stage.client(agencies[number % len(agencies)])
        receiver = stage.client(agencies[(number + 3) % len(agencies)])
        waiting.append((receiver, await offered(stage, owner, receiver)))
    seen: list[float] = []
    async with asyncio.TaskGroup() as group:
        for number, (receiver, referral) in enumerate(waiting):
            group.create_task(_seen_after(stage, receiver, referral, number / RATE_PER_SECOND, seen))
    hundredths = statistics.quantiles(seen, n=100)
    print(
        f"{acceptances} acceptances at {RATE_PER_SECOND}/s, sent until in the receiver's worklist: "
        f"p50 {statistics.median(seen) * 1000:.0f} ms, p99 {hundredths[98] * 1000:.0f} ms"
    )


async def offered(stage: Stage, owner: Client, receiver: Client) -> str:
    """A referral that its receiver knows of and has not answered."""
    case = await owner.open_case()
    service = receiver.agency.services[0]
    asked = await owner.offer(
        {
            "case": case,
            "consent": await owner.record_consent(case, receiver.agency, feedback=False),
            "service": service.id,
            "recipient": receiver.agency.id,
            "purpose": receiver.agency.purpose,
            "groups": ["contact"],
            "needs": list(service.needs),
            "urgency": "routine",
            "area": "ZZ01",
            "duty": DESK,
        }
    )
    await stage.book.told(asked.referral, receiver.agency.id, "referral.offered")
    return asked.referral


async def _seen_after(
    stage: Stage, receiver: Client, referral: str, wait_seconds: float, seen: list[float]
) -> None:
    await asyncio.sleep(wait_seconds)
    began = time.perf_counter()
    await receiver.step(referral, ACCEPT.resource, ACCEPT.body, ACCEPT.fact)
    await stage.book.told(referral, receiver.agency.id, ACCEPT.fact)
    while not any(
        row["referral"] == referral and row["state"] == "accepted" for row in await receiver.read_worklist()
    ):
        await asyncio.sleep(0)
    seen.append(time.perf_counter() - began)


def _tell_memory(stage: Stage) -> None:
    total = 0.0
    for name in stage.platform.names:
        megabytes = memory_megabytes(stage.platform.pid(name))
        total += megabytes
        print(f"memory {name:16} {megabytes:6.0f} MB")
    print(f"memory {'all':16} {total:6.0f} MB (proportional set size)")


def memory_megabytes(pid: int | None) -> float:
    """The proportional set size of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) / 1024
