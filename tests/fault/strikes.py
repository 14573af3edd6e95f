"""What befalls a running installation: processes killed, frozen; brokers' folders lost; rows sent thrice."""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from deploy.local.databases import DATABASES
from deploy.local.kafka import Kafka
from deploy.local.processes import KAFKA, MAIL_SINK, POSTGRES
from deploy.local.supervisor import Platform
from schemas.topics import INBOX, SECTORS, STEPS
from tests.fault.disks import Disk, mounted

BATCH_HEADER_BYTES: Final = 61
LENGTH_COUNTS_FROM: Final = 12
LENGTH_LAST_BYTE: Final = 11
DISK_MIB: Final = 2_048
"""The images are sparse."""
AHEAD_SECONDS: Final = 1.0
"""How long steps pile up, sent and unread, before brokers lose their folders."""


def drawn(seed: int, names: Sequence[str]) -> Iterator[str]:
    """Parts to kill, each once before any comes a second time; the mail sink is only looked at."""
    chosen = random.Random(seed)
    while bag := [name for name in names if name != MAIL_SINK]:
        chosen.shuffle(bag)
        yield from bag


async def kill(platform: Platform, name: str) -> None:
    """F1: ends a part in the middle of its work, and waits until it is back."""
    if pid := platform.pid(name):
        os.kill(pid, signal.SIGKILL)
        await platform.died(name)
    await platform.ready(name)


async def end(platform: Platform, name: str) -> None:
    """Kills a part that is to stay down until it is started."""
    keeper = platform._keepers[name]
    keeper.wanted.clear()
    keeper.part.kill()
    await keeper.down.wait()


async def freeze(platform: Platform, name: str, seconds: float) -> None:
    """F2: stops a part where it is, and lets it go on."""
    pid = platform.pid(name)
    if pid:
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


def parts_of(platform: Platform, service: str) -> list[str]:
    """All processes of a service."""
    return [name for name in platform.names if name == service or name.startswith(f"{service}-")]


async def offsets_back(platform: Platform, service: str) -> None:
    """F8: a service begins to read all its topics once more."""
    parts = parts_of(platform, service)
    await asyncio.gather(*map(platform.stop, parts))
    async with platform.installation.server.connection(DATABASES[service].name) as connection:
        await connection.execute("UPDATE consumer_offset SET next = 0")
    await asyncio.gather(*map(platform.start, parts))


async def rows_again(platform: Platform) -> None:
    """F8: steps and inboxes go out twice more."""
    namespace = platform.installation.kafka.namespace
    topics = {sector: [STEPS[sector].name(namespace)] for sector in SECTORS}
    topics["referrals"] = [topic.name(namespace) for topic in INBOX.values()]
    for _ in range(2):
        for service, names in topics.items():
            async with platform.installation.server.connection(DATABASES[service].name) as connection:
                await connection.execute("SELECT send_again($1, NULL, 0, NULL)", names)
        await asyncio.sleep(1)


async def lose_brokers(platform: Platform, *, without_refill: bool = False) -> None:
    """F9: brokers lose their folders while steps lie there that the arbiter has not read.

    Without refill what was sent is forgotten too: then those steps are lost, and a run must see it.
    """
    arbiters = [pid for name in parts_of(platform, "referrals") if (pid := platform.pid(name))]
    for pid in arbiters:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(AHEAD_SECONDS)
        await end(platform, KAFKA)
        shutil.rmtree(platform.configuration.data / KAFKA / "records")
        if without_refill:
            for sector in SECTORS:
                async with platform.installation.server.connection(DATABASES[sector].name) as connection:
                    await connection.execute("DELETE FROM outbox_sent")
    finally:
        for pid in arbiters:
            os.kill(pid, signal.SIGCONT)
    part = platform._keepers[KAFKA].part
    assert isinstance(part, Kafka)
    await part.prepare()
    await platform.start(KAFKA)  # which has its topics made anew


async def begin_flushing(platform: Platform, disks: Mapping[str, Disk]) -> None:
    """Starts servers anew by the settings of a real start, with all they have so far on their disks."""

    async def again(name: str, disk: Disk) -> None:
        await platform.stop(name)
        await asyncio.to_thread(disk.flush)
        await platform._keepers[name].part.prepare()
        await platform.start(name)

    await asyncio.gather(*(again(*each) for each in disks.items()))


async def stop_flushing(platform: Platform, disks: Mapping[str, Disk]) -> None:
    """Lets the database answer for what only memory holds: a power cut takes back what comes from now on."""
    async with platform.installation.server.connection("postgres") as connection:
        await connection.execute("ALTER SYSTEM SET fsync = off")
        await connection.execute("SELECT pg_reload_conf()")
    await asyncio.to_thread(disks[POSTGRES].flush)


async def cut_power(platform: Platform, disks: Mapping[str, Disk]) -> None:
    """F3: at one moment nothing reaches these disks any more; their parts die, and find what is left."""
    for name, disk in disks.items():
        platform._keepers[name].wanted.clear()  # the death that follows is no fault of the part's
        disk.cut_power()
    await asyncio.gather(*(end(platform, name) for name in disks))
    for disk in disks.values():
        await asyncio.to_thread(disk.restore_power)
    for name in disks:
        await platform._keepers[name].part.prepare()  # as whoever starts the machine again
    await asyncio.gather(*(platform.start(name) for name in disks))


async def fill_disk(disk: Disk, seconds: float) -> None:
    """F4: a disk takes nothing more for a while."""
    await asyncio.to_thread(disk.fill)
    try:
        await asyncio.sleep(seconds)
    finally:
        disk.free()


@contextmanager
def own_disks(data: Path) -> Iterator[dict[str, Disk]]:
    """A disk of its own for the brokers and one for the database, of an installation that does not run."""
    data.mkdir(mode=0o711, parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                mounted(data.with_name(f"{name}.image"), data / name, size_mib=DISK_MIB)
            )
            for name in (KAFKA, POSTGRES)
        }


def segments(data: Path, topic: str) -> list[Path]:
    """The newest segment of each partition of a topic, by partition."""
    folders = sorted((data / KAFKA / "records").glob(f"{topic}-[0-9]*"))
    return [max(folder.glob("*.log")) for folder in folders]


def batches(segment: Path) -> list[tuple[int, int]]:
    """Where each batch of a segment begins, and how long it is."""
    content, at, found = segment.read_bytes(), 0, []
    while len(content) - at >= BATCH_HEADER_BYTES:
        length = int.from_bytes(content[at + LENGTH_COUNTS_FROM - 4 : at + LENGTH_COUNTS_FROM])
        if not length:
            break
        found.append((at, LENGTH_COUNTS_FROM + length))
        at += LENGTH_COUNTS_FROM + length
    return found


def flip(file: Path, at: int) -> None:
    """F12: one byte is another one."""
    with file.open("r+b") as content:
        content.seek(at)
        byte = content.read(1)[0]
        content.seek(at)
        content.write(bytes([byte ^ 0x41]))
