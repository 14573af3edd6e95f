"""Which port a part gets."""

import itertools
import os

import pytest

from deploy.local import ports
from deploy.local.refusals import CannotRun

USUAL = {"kafka": 9092, "postgres": 5433}


def choose(named: dict[str, int], chosen: dict[str, int], taken: set[int]) -> dict[str, int]:
    return ports.choose(USUAL, named, chosen, lambda port: port not in taken, itertools.count(20_000))


@pytest.mark.parametrize(
    ("named", "chosen", "taken", "expected"),
    [
        ({}, {}, set(), USUAL),
        ({}, {}, {9092, 20_000}, {"kafka": 20_001}),
        ({}, {"kafka": 21_000}, set(), {"kafka": 21_000}),
        ({}, {"kafka": 21_000}, {21_000}, {"kafka": 9092}),
        ({"kafka": 9999}, {"kafka": 21_000}, set(), {"kafka": 9999}),
        ({}, {"kafka": 5433}, set(), {"kafka": 5433, "postgres": 20_000}),
    ],
    ids=["the usual ones", "a free one for one taken", "the one chosen before", "unless it is taken",
         "the one that the operator named", "no two the same"],
)  # fmt: skip
def test_a_part_gets(
    named: dict[str, int], chosen: dict[str, int], taken: set[int], expected: dict[str, int]
) -> None:
    assert choose(named, chosen, taken) == USUAL | expected


def test_a_port_that_the_operator_named_is_refused_where_it_is_taken() -> None:
    with pytest.raises(CannotRun) as refusal:
        choose({"kafka": 9999}, {}, {9999})
    assert (refusal.value.code, refusal.value.exit_code) == ("port_taken", 5)


def test_a_trial_never_takes_a_usual_port() -> None:
    found = ports.trial_ports(USUAL)
    assert set(found.values()) <= set(ports.CHOSEN_FROM)
    assert len(set(found.values())) == len(USUAL)


def test_no_port_is_chosen_twice_as_its_part_may_only_be_restarting() -> None:
    chosen = [port for _ in range(200) for port in ports.trial_ports(USUAL).values()]
    assert len(set(chosen)) == len(chosen)


def test_a_block_of_ports_is_held_by_one_process_alone() -> None:
    block = 100_000 + os.getpid()  # no ports at all, and of no other run
    assert ports.is_block_held(block)
    assert not ports.is_block_held(block)


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with ports.listen(0) as listening:
        assert not ports.is_free(listening.getsockname()[1])
