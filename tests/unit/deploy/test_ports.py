"""Which port a part gets."""

import itertools

import pytest

from deploy.local import ports
from deploy.local.refusals import CannotRun

USUAL = {"kafka": 9092, "postgres": 5433}


def choose(named: dict[str, int], chosen: dict[str, int], taken: set[int]) -> dict[str, int]:
    return ports.choose(USUAL, named, chosen, lambda port: port not in taken, itertools.count(20_000))


def test_the_usual_ports_are_used_where_nothing_is_in_the_way() -> None:
    assert choose({}, {}, set()) == USUAL


def test_a_usual_port_that_is_taken_gives_way_to_a_free_one() -> None:
    assert choose({}, {}, {9092, 20_000}) == {"kafka": 20_001, "postgres": 5433}


def test_what_was_chosen_before_is_kept_until_it_is_taken() -> None:
    assert choose({}, {"kafka": 21_000}, set())["kafka"] == 21_000
    assert choose({}, {"kafka": 21_000}, {21_000})["kafka"] == 9092


def test_a_port_that_the_operator_named_is_used_or_refused() -> None:
    assert choose({"kafka": 9999}, {"kafka": 21_000}, set())["kafka"] == 9999
    with pytest.raises(CannotRun) as refusal:
        choose({"kafka": 9999}, {}, {9999})
    assert (refusal.value.code, refusal.value.exit_code) == ("port_taken", 5)


def test_no_two_parts_get_the_same_port() -> None:
    assert choose({}, {"kafka": 5433}, set()) == {"kafka": 5433, "postgres": 20_000}


def test_a_trial_never_takes_a_usual_port() -> None:
    found = ports.trial_ports(USUAL)
    assert set(found.values()) <= set(ports.CHOSEN_FROM)
    assert len(set(found.values())) == len(USUAL)


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with ports.listen(0) as listening:
        assert not ports.is_free(listening.getsockname()[1])
