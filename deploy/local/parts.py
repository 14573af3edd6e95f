"""What a supervisor keeps running: the broker, the database server and each service, alike."""

import asyncio
import shutil
import signal
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.local.refusals import CannotRun, part_died
from deploy.local.subprocesses import Subprocess

READY_WITHIN_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02
ROOM_BYTES_MIN: Final = 16 << 20
"""A segment of PostgreSQL's log: with less room no part goes on, and none is started."""


class Part(ABC):
    """One thing that is started, waited for and stopped, again and again."""

    asked_to_stop_by: signal.Signals = signal.SIGTERM
    stopped_within_seconds: float
    is_vital: bool = False
    """Whether nothing goes on without it."""
    needs: tuple[str, ...] = ()
    folder: Path | None = None
    """Where it keeps its data, if it does."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.service = name
        """What it is a process of."""
        self.log = log
        self.process: Subprocess | None = None

    @property
    def pid(self) -> int | None:
        """Its process, while it lives."""
        return self.process.pid if self.process and self.process.is_alive else None

    @property
    def is_disk_full(self) -> bool:
        """Whether it has no room for its data."""
        with suppress(OSError):  # not there at all
            return bool(self.folder) and shutil.disk_usage(str(self.folder)).free < ROOM_BYTES_MIN
        return False

    @abstractmethod
    async def prepare(self) -> None:
        """Makes what it needs, once."""

    @abstractmethod
    async def start(self) -> None:
        """Starts `process`."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether it can be used now."""

    async def wait_ready(self) -> None:
        """Waits until it answers; refused at once when it ends instead."""
        ends = asyncio.get_running_loop().time() + READY_WITHIN_SECONDS
        while not await self.answers():
            if self.pid is None:
                raise part_died(self.name, self.log)
            if asyncio.get_running_loop().time() > ends:
                sentence = f"{self.name} was not ready within {READY_WITHIN_SECONDS:.0f} seconds."
                raise CannotRun("not_ready", sentence)
            await asyncio.sleep(POLL_SECONDS)

    async def wait(self) -> None:
        """Waits for its end."""
        if self.process:
            await self.process.wait()

    async def stop(self) -> None:
        """Asks it to finish, and ends it if it does not."""
        if self.process:
            await self.process.stop(self.asked_to_stop_by, self.stopped_within_seconds)

    def kill(self) -> None:
        """Ends it at once."""
        if self.process:
            self.process.kill()
