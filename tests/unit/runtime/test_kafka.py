"""Who a reader is to the brokers: the same over a restart, another one once it reads other topics."""

from services.runtime.identity import Identity
from services.runtime.kafka import member_of

REFERRALS = Identity("referrals", "test-local")


def test_a_reader_that_comes_back_is_the_same_member() -> None:
    assert member_of(REFERRALS, ["one", "two"]) == member_of(REFERRALS, ["two", "one"])


def test_with_other_topics_it_is_another_member() -> None:
    """The brokers give a static member its old partitions without a look at what it asks for."""
    assert member_of(REFERRALS, ["one", "two"]) != member_of(REFERRALS, ["one"])


def test_another_service_is_another_member() -> None:
    assert member_of(REFERRALS, ["one"]) != member_of(Identity("health", "test-local"), ["one"])
