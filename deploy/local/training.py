"""Makes the JVM's ahead-of-time cache in a throw-away start, so that no user's stop takes its seconds."""

import asyncio
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

from deploy.local import accounts, ports
from deploy.local.jars import class_path
from deploy.local.kafka import Kafka, KafkaPorts, aot_cache
from deploy.local.places import make_directory
from deploy.local.secrets import Secrets

WRITTEN_WITHIN_SECONDS: Final = 120.0
LEAST_URGENT: Final = 19
KEPT_FILES: Final = 3


async def train(cache: Path) -> None:
    """Makes the cache if there is none. Cancelled, it leaves nothing running."""
    classes = await asyncio.to_thread(class_path, cache, os.environ)
    file = aot_cache(cache, classes)
    if file.exists():
        return
    with (cache / "training.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        folder = cache / "training"
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        try:
            await _train(make_directory(folder), cache, file)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _train(folder: Path, cache: Path, file: Path) -> None:
    accounts.give(accounts.account_of(accounts.KAFKA), folder)  # the JVM writes its cache there
    chosen = ports.trial_ports(("client", "internal", "controller"))
    secrets = Secrets(folder / "secrets")
    kafka = Kafka(folder / "kafka", folder / "kafka.log", KafkaPorts(**chosen), secrets, cache)
    await kafka.prepare()
    fresh = folder / "kafka.aot"
    await kafka.start((f"-XX:AOTCacheOutput={fresh}",))
    try:
        if kafka.pid:
            os.setpriority(os.PRIO_PROCESS, kafka.pid, LEAST_URGENT)
        await kafka.wait_ready(WRITTEN_WITHIN_SECONDS)
        kafka.stopped_within_seconds = WRITTEN_WITHIN_SECONDS
        await kafka.stop()
    finally:
        kafka.kill()
        await kafka.wait()
    if fresh.exists():
        os.chown(fresh, os.getuid(), os.getgid())
        fresh.chmod(0o644)
        fresh.replace(file)
        forget_old(cache)


def forget_old(cache: Path) -> None:
    """Each environment that was ever used has a cache of its own; only the newest few are kept."""
    files = sorted(cache.glob("kafka-*.aot"), key=lambda file: file.stat().st_mtime)
    for file in files[:-KEPT_FILES]:
        file.unlink(missing_ok=True)
