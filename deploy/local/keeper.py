"""Keeps one part running: its lives one after the other, and what is told of them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from deploy.local.parts import ROOM_BYTES_MIN, Part
from deploy.local.refusals import CannotRun, part_died
from deploy.local.subprocesses import Say

LIVED_LONG_SECONDS: Final = 60.0
"""The deaths of whoever was ready for so long are forgotten."""
FAILING_FROM_DEATHS: Final = 5
FIRST_DELAY_SECONDS: Final = 0.2
DELAY_SECONDS_MAX: Final = 60.0
VITAL_DELAY_SECONDS_MAX: Final = 5.0
DOUBLED_TIMES_MAX: Final = 10


def delay_seconds(deaths: int) -> float:
    """How long a part stays down after so many deaths in a row."""
    return min(FIRST_DELAY_SECONDS * (1 << min(deaths - 1, DOUBLED_TIMES_MAX)), DELAY_SECONDS_MAX)


class PartKeeper:
    """Keeps one part running for as long as it is wanted; `changed` is called whenever `document` has."""

    def __init__(self, part: Part, say: Say, changed: Callable[[], None]) -> None:
        self.part = part
        self.refusal: CannotRun | None = None
        """Why it counts as failing, until it has lived long."""
        self.wanted = asyncio.Event()
        self.wanted.set()
        self.ready = asyncio.Event()
        self.settled = asyncio.Event()
        """Ready once, or known to be failing: a start waits no longer for it."""
        self.down = asyncio.Event()
        self.down.set()
        self._say = say
        self._changed = changed
        self._state = "waiting"
        self._deaths = 0
        self._next_try_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """What others are told about it; after many deaths a short life does not prove it well."""
        return {
            "state": "failing" if self.refusal else self._state,
            "pid": self.part.pid,
            "deaths": self._deaths,
            "next_try_at": self._next_try_at.isoformat(timespec="seconds") if self._next_try_at else None,
        }

    async def keep(self, needs: Iterable[asyncio.Event]) -> None:
        """One life after the other; raises where nothing can go on without it, and returns never."""
        await self.part.prepare()
        for need in needs:
            await need.wait()
        while True:
            await self.wanted.wait()
            refusal = await self._live_once()
            if not self.wanted.is_set():
                continue
            if self.part.is_vital and not self.settled.is_set():
                raise refusal
            await self._wait_before_next_life(refusal)

    async def _live_once(self) -> CannotRun:
        """From a start to the end; tells how it ended."""
        self.down.clear()
        self._next_try_at = None
        try:
            if (
                self.part.is_disk_full
            ):  # a broker that starts without room empties its logs, and drops its topics
                room = f"{ROOM_BYTES_MIN >> 20} MB in {self.part.folder}"
                raise CannotRun("disk_full", f"{self.part.name} needs {room}; make room there.")
            await self.part.start()
            if not self.wanted.is_set():
                self.part.kill()
            self._is_now("starting")
            await self.part.wait_ready()
            self._is_now("ready")
            self.ready.set()
            self.settled.set()
            await self._live()
        except (CannotRun, OSError) as error:  # the latter for lack of memory, descriptors or disk
            self.part.kill()
            await self.part.wait()
            if isinstance(error, CannotRun):
                return error
            sentence = f"{self.part.name} could not be started: {error.strerror or 'no reason given'}."
            return CannotRun("part_died", sentence)
        finally:
            self.ready.clear()
            self.down.set()
            self._is_now("down")
        return part_died(self.part.name, self.part.log)

    async def _live(self) -> None:
        """Waits for the end of a part that is ready; its deaths are forgotten once it has lived long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIVED_LONG_SECONDS):
                await self.part.wait()
                return
        if self.refusal:
            self._say(f"{self.part.name} is well again")
        self._deaths, self.refusal = 0, None
        self._changed()
        await self.part.wait()

    async def _wait_before_next_life(self, refusal: CannotRun) -> None:
        self._deaths += 1
        name, delay = self.part.name, delay_seconds(self._deaths)
        if self.part.is_vital:  # without it nothing goes on
            delay = min(delay, VITAL_DELAY_SECONDS_MAX)
        why = ", for its disk is full" if self.part.is_disk_full else ""
        dies_on = self._deaths >= FAILING_FROM_DEATHS
        if dies_on or (refusal.code == "not_ready" and not self.part.is_vital):
            if not self.refusal:  # said once, for it is tried for ever
                self._say(
                    f"{name} cannot live{why}; it is tried on, at least once a minute. See {self.part.log}"
                )
            self.refusal = refusal
            self.settled.set()
        elif not self.refusal:
            self._say(f"{name} has ended{why}; it is started again in {delay:.1f} s")
        self._next_try_at = datetime.now(UTC) + timedelta(seconds=delay)
        self._changed()
        await asyncio.sleep(delay)

    def _is_now(self, state: str) -> None:
        self._state = state
        self._changed()
