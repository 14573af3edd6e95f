"""Keeps one part running: its lives one after the other, and what is told of them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.parts import Part
from deploy.local.refusals import CannotRun, not_started, part_died
from deploy.local.restart_policy import LIVED_LONG_SECONDS, RestartPolicy
from deploy.local.subprocesses import Say


class PartKeeper:
    """Keeps one part running for as long as it is wanted; `changed` is called whenever `document` has."""

    def __init__(self, part: Part, say: Say, changed: Callable[[], None], *, restarts: bool) -> None:
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
        self._restarts = restarts
        self._may_fail = restarts and not part.is_vital
        self._state = "waiting"
        self._policy = RestartPolicy()
        self._next_try_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """What others are told about it; after many deaths a short life does not prove it well."""
        return {
            "state": "failing" if self.refusal else self._state,
            "pid": self.part.pid,
            "deaths": self._policy.deaths,
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
            if not (self.settled.is_set() or self._may_fail):
                raise refusal
            if self._restarts:
                await self._wait_before_next_life(refusal)
            else:
                self.wanted.clear()

    async def _live_once(self) -> CannotRun:
        """From a start to the end; tells how it ended."""
        self.down.clear()
        self._next_try_at = None
        try:
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
            return error if isinstance(error, CannotRun) else not_started(self.part.name, error)
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
        self._policy = RestartPolicy()
        self.refusal = None
        self._changed()
        await self.part.wait()

    async def _wait_before_next_life(self, refusal: CannotRun) -> None:
        name, delay = self.part.name, self._policy.next_delay()
        is_failing = self._policy.is_failing or (self._may_fail and refusal.code == "not_ready")
        if is_failing and not self._may_fail:
            raise CannotRun(
                "part_died", f"{name} died {self._policy.deaths} times in a row.", refusal.last_lines
            )
        if is_failing and not self.refusal:  # said once, for it is tried for ever
            self._say(f"{name} cannot live; it is tried on, at least once a minute. See {self.part.log}")
        elif not self.refusal:
            self._say(f"{name} has ended; it is started again in {delay:.1f} s")
        if is_failing:
            self.refusal = refusal
            self.settled.set()
        self._next_try_at = datetime.now(UTC) + timedelta(seconds=delay)
        self._changed()
        await asyncio.sleep(delay)

    def _is_now(self, state: str) -> None:
        self._state = state
        self._changed()
