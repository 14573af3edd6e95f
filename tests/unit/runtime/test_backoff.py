"""Waiting longer and longer, never together with others, never for too long."""

from services.runtime.backoff import FIRST_SECONDS, MOST_SECONDS, Backoff


def test_delays_double_up_to_a_limit_and_are_at_most_a_quarter_shorter() -> None:
    backoff = Backoff()

    for step in range(12):
        full = min(MOST_SECONDS, FIRST_SECONDS * 2**step)
        assert full * 0.75 <= backoff.next() <= full


def test_two_who_wait_do_not_come_back_together() -> None:
    assert len({Backoff().next() for _ in range(20)}) > 1


def test_after_success_the_shortest_comes_first_again() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.next()

    backoff.reset()

    assert backoff.next() <= FIRST_SECONDS
