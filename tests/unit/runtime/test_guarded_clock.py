"""The machine's clock is set: what leaps is not believed for five minutes, and what drifts is followed."""

from datetime import timedelta
from pathlib import Path

import pytest

from services.runtime.clock import TEST_CLOCK
from services.runtime.guarded_clock import GuardedClock
from tests.support.clock import NOON

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Machine:
    """A machine whose wall clock somebody sets; the other goes on."""

    def __init__(self) -> None:
        self.wall_at = NOON
        self.running = timedelta(days=3)
        self.clock = GuardedClock(lambda: self.wall_at, lambda: self.running)

    def goes_on(self, by: timedelta) -> None:
        """Both clocks do."""
        self.wall_at += by
        self.running += by

    def told(self) -> list[str]:
        """The alarms."""
        return [alarm.rule for alarm in self.clock.alarms()]


@pytest.mark.parametrize("leap", [HOUR, -HOUR])
def test_a_leap_is_told_and_believed_after_five_minutes(leap: timedelta) -> None:
    machine, begun = Machine(), NOON
    machine.wall_at += leap
    seen = []
    for _ in range(5):
        seen.append((machine.clock.now() - begun, machine.told()))
        machine.goes_on(MINUTE)

    assert seen == [(minute * MINUTE, ["clock_leapt"]) for minute in range(5)]
    assert machine.clock.now() == NOON + 5 * MINUTE + leap
    assert machine.told() == []


def test_a_leap_that_is_taken_back_was_none() -> None:
    machine = Machine()
    machine.wall_at += HOUR
    machine.clock.now()
    machine.goes_on(4 * MINUTE)
    machine.wall_at -= HOUR

    assert machine.clock.now() == NOON + 4 * MINUTE
    assert machine.told() == []
    machine.wall_at += HOUR
    assert machine.clock.now() == NOON + 4 * MINUTE, "the five minutes begin anew"


def test_a_second_leap_begins_the_five_minutes_anew() -> None:
    machine = Machine()
    for _ in range(3):
        machine.wall_at += HOUR
        machine.clock.now()
        machine.goes_on(4 * MINUTE)

    assert machine.clock.now() == NOON + 12 * MINUTE


def test_small_steps_are_followed_however_far_they_lead() -> None:
    machine = Machine()
    for _ in range(10):
        machine.wall_at += timedelta(seconds=30)
        machine.clock.now()

    assert machine.clock.now() == NOON + 5 * MINUTE
    assert machine.told() == []


def test_what_a_test_adds_is_no_leap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, ahead = Machine(), tmp_path / "ahead"
    ahead.write_text("864000")
    monkeypatch.setenv(TEST_CLOCK, str(ahead))

    assert machine.clock.now() == NOON + timedelta(days=10)
    assert machine.told() == []
