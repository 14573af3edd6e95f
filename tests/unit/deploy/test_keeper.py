"""How long a dead part stays down."""

from deploy.local.keeper import delay_seconds


def test_the_delay_doubles_up_to_a_minute_and_the_part_is_tried_for_ever() -> None:
    assert [delay_seconds(deaths) for deaths in (1, 2, 3, 4, 5, 2000)] == [0.2, 0.4, 0.8, 1.6, 3.2, 60.0]
