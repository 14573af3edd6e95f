"""How long a due size may wait for the signer, on a clock that stands still."""

from datetime import timedelta

from services.audit.sequencer import NOTHING_SIGNED, CheckpointLag
from tests.support.clock import NOON, StoppedClock

MOST = timedelta(seconds=30)


def test_nothing_is_late_while_all_that_is_due_is_signed() -> None:
    clock, lag = StoppedClock(), CheckpointLag(MOST)

    lag.look(16, 16, clock.now())

    assert not lag.is_late(clock.forward(MOST * 100))


def test_a_log_without_any_checkpoint_waits_for_its_first() -> None:
    clock, lag = StoppedClock(), CheckpointLag(MOST)

    lag.look(0, NOTHING_SIGNED, clock.now())
    waits = lag.waits_since
    lag.look(0, 0, clock.forward(MOST))

    assert (waits, lag.waits_since) == (NOON, None)


def test_a_due_size_is_late_after_its_time_and_no_sooner() -> None:
    clock, lag = StoppedClock(), CheckpointLag(MOST)

    lag.look(16, 0, clock.now())

    assert not lag.is_late(clock.forward(MOST))
    assert lag.is_late(clock.forward(timedelta(milliseconds=1)))


def test_a_log_that_grows_on_does_not_start_the_wait_anew() -> None:
    clock, lag = StoppedClock(), CheckpointLag(MOST)

    for due_size in range(16, 16 * 33, 16):
        lag.look(due_size, 0, clock.forward(timedelta(seconds=1)))

    assert lag.is_late(clock.now())


def test_a_checkpoint_short_of_the_size_does_not_end_the_wait() -> None:
    clock, lag = StoppedClock(), CheckpointLag(MOST)
    lag.look(48, 16, clock.now())

    lag.look(48, 32, clock.forward(MOST * 2))

    assert lag.is_late(clock.now())


def test_a_checkpoint_ends_the_wait_and_a_later_size_waits_anew() -> None:
    clock, lag = StoppedClock(), CheckpointLag(MOST)
    lag.look(16, 0, clock.now())

    lag.look(32, 16, clock.forward(MOST * 2))

    assert not lag.is_late(clock.forward(MOST))
    assert lag.is_late(clock.forward(MOST))
