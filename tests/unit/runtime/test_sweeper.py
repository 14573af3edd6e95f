"""A sweeper looks again and again, at once while there is more, and no failure ends it."""

import asyncio
from collections.abc import Sequence

from services.runtime.alarms import Alarm
from services.runtime.errors import Unavailable
from services.runtime.sweeper import FAILS_FOR, Sweeper
from tests.support.clock import NOON, StoppedClock
from tests.support.waiting import until

NEVER_SECONDS = 3_600.0


class Work:
    """Answers each sweep from a list, the last answer again and again; an exception is raised."""

    def __init__(self, answers: Sequence[bool | Exception]) -> None:
        self.answers = list(answers)
        self.sweeps = 0

    async def sweep(self) -> bool:
        self.sweeps += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        await asyncio.sleep(0)
        return answer


async def swept(work: Work, sweeps: int, every_seconds: float = NEVER_SECONDS) -> None:
    """Run until so many sweeps were made, then stop in order."""
    sweeper = Sweeper("deadlines", every_seconds, work.sweep)
    async with asyncio.TaskGroup() as group:
        group.create_task(sweeper.run())
        await until(lambda: work.sweeps >= sweeps)
        sweeper.stop()


async def test_while_there_is_more_it_goes_on_at_once() -> None:
    work = Work([True, True, True, False])

    await swept(work, 4)

    assert work.sweeps == 4


async def test_with_nothing_left_it_comes_again_after_its_time() -> None:
    await swept(Work([False]), 3, every_seconds=0.001)


async def test_something_unavailable_is_tried_again() -> None:
    work = Work([Unavailable("away"), Unavailable("away"), False])

    await swept(work, 3)

    assert work.sweeps == 3


async def test_a_failure_ends_nothing() -> None:
    await swept(Work([RuntimeError("one bad row"), False]), 2, every_seconds=0.001)


async def test_waking_it_makes_it_look_now() -> None:
    work = Work([False])
    sweeper = Sweeper("deadlines", NEVER_SECONDS, work.sweep)

    async with asyncio.TaskGroup() as group:
        group.create_task(sweeper.run())
        await until(lambda: work.sweeps == 1)
        sweeper.wake()
        await until(lambda: work.sweeps == 2)
        sweeper.stop()


async def test_stopping_lets_the_piece_in_hand_finish() -> None:
    begun, go_on, finished = asyncio.Event(), asyncio.Event(), []

    async def sweep() -> bool:
        begun.set()
        await go_on.wait()
        finished.append(True)
        return True

    sweeper = Sweeper("deadlines", NEVER_SECONDS, sweep)
    async with asyncio.TaskGroup() as group:
        group.create_task(sweeper.run())
        await begun.wait()
        sweeper.stop()
        go_on.set()

    assert finished == [True]


async def test_work_that_fails_for_long_is_an_alarm_until_it_succeeds() -> None:
    work, clock = Work([RuntimeError("each time")]), StoppedClock()
    sweeper = Sweeper("deadlines", 0.001, work.sweep)
    sweeper.clock = clock
    async with asyncio.TaskGroup() as group:
        group.create_task(sweeper.run())
        await until(lambda: work.sweeps >= 2)
        assert list(sweeper.alarms()) == []

        clock.forward(FAILS_FOR)
        assert list(sweeper.alarms()) == [Alarm("sweep_fails", "deadlines", NOON)]

        work.answers[:] = [False]
        await until(lambda: not list(sweeper.alarms()))
        sweeper.stop()
