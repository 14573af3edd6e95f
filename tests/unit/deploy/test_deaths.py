"""How long a dead part stays down, and when the supervisor gives up."""

from deploy.local.deaths import Deaths


def test_the_delay_doubles_up_to_the_fifth_death_within_a_minute_which_gives_up() -> None:
    deaths = Deaths()
    assert [deaths.delay_after(now) for now in (0.0, 1.0, 2.0, 3.0, 4.0)] == [0.2, 0.4, 0.8, 1.6, None]


def test_deaths_of_more_than_a_minute_ago_no_longer_count() -> None:
    deaths = Deaths()
    assert [deaths.delay_after(now * 30.0) for now in range(20)] == [0.2, 0.4, *[0.4] * 18]
