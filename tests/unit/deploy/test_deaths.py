"""How long a dead part stays down, and when it counts as failing."""

from deploy.local.deaths import Deaths


def test_the_delay_doubles_up_to_a_minute_and_the_part_is_tried_for_ever() -> None:
    deaths = Deaths()
    first = [deaths.next_delay() for _ in range(4)]
    assert (first, deaths.are_many) == ([0.2, 0.4, 0.8, 1.6], False)
    assert (deaths.next_delay(), deaths.are_many) == (3.2, True)
    assert [deaths.next_delay() for _ in range(2000)][-1] == 60.0


def test_a_part_that_lived_long_begins_anew() -> None:
    deaths = Deaths(count=7)
    deaths.forget()
    assert (deaths.are_many, deaths.next_delay()) == (False, 0.2)
