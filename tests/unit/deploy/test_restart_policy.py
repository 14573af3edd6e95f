"""How long a dead part stays down, and when it counts as failing."""

from deploy.local.restart_policy import RestartPolicy


def test_the_delay_doubles_up_to_a_minute_and_the_part_is_tried_for_ever() -> None:
    policy = RestartPolicy()
    first = [policy.next_delay() for _ in range(4)]
    assert (first, policy.is_failing) == ([0.2, 0.4, 0.8, 1.6], False)
    assert (policy.next_delay(), policy.is_failing) == (3.2, True)
    assert [policy.next_delay() for _ in range(2000)][-1] == 60.0
