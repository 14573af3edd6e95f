"""The one filter: every wire field for every reader, and no field that escapes the tables."""

from itertools import product
from typing import Any, get_args

import pytest

from schemas.governance import URGENCIES, Visibility
from schemas.minimisation import (
    ADDRESSED_NEVER,
    COARSE,
    HOP_ONLY,
    ROWS,
    Matrix,
    for_statistics,
    minimise,
    visible,
)
from schemas.referral import FACTS, NEEDS, AgeBand, FactBase, ReferralOffered, ReferralWithdrawn
from tests.support.builders import MATRIX, OWNER, RECEIVER, SERVICE, an_id
from tests.support.clock import NOON

FULL: dict[str, Any] = {
    "needs": ("medical_care", "school_support"),
    "urgency": "critical",
    "age_band": "adolescent",
    "minor": True,
    "access_needs": ("interpreter", "wheelchair"),
    "immediate_danger": True,
    "weapons": True,
}
COARSENED: dict[str, Any] = {
    "needs": ("support", "support_at_school"),
    "urgency": "urgent",
    "age_band": "child",
    "minor": True,
    "access_needs": ("some",),
    "immediate_danger": True,
    "weapons": False,
}
VALUES: dict[str, list[Any]] = {
    "needs": [(need,) for need in sorted(NEEDS)] + [tuple(sorted(NEEDS)[:8])],
    "urgency": list(URGENCIES),
    "age_band": list(get_args(AgeBand)),
    "minor": [True, False],
    "access_needs": [(), ("interpreter",), ("interpreter", "transport")],
    "immediate_danger": [True, False],
    "weapons": [True, False],
}
ABOUT_THE_HOP = {
    "referral", "state", "protocol", "area", "reason", "outcome", "stop_contact", "seal_by_at", "method",
    "timer", "step", "asked", "code",
}  # fmt: skip
"""Fields that every reader of a fact may see: ids, codes and times of the hop itself."""
READERS = ("social_services", "health", "police", "education", "referrals")


def offered(**changes: Any) -> ReferralOffered:
    content = FULL | {
        "referral": an_id("referral", "one"),
        "owner": OWNER,
        "receiver": RECEIVER,
        "service": SERVICE,
        "purpose": "care",
        "feedback_allowed": True,
        "answer_due_at": NOON,
        "area": "HB01",
    }
    return ReferralOffered.model_validate(content | changes)


@pytest.mark.parametrize(("row", "reader"), list(product(ROWS, READERS)))
@pytest.mark.parametrize("allowed", get_args(Visibility))
def test_a_reader_sees_each_field_as_its_row_allows(row: str, reader: str, allowed: Visibility) -> None:
    matrix: Matrix = {**MATRIX, row: {**MATRIX[row], reader: allowed}}

    seen = minimise(offered(), reader, matrix)

    for field in ROWS[row]:
        expected = {"F": FULL[field], "C": COARSENED[field], "O": None, "N": None}[allowed]
        assert getattr(seen, field) == expected, field


@pytest.mark.parametrize("field", VALUES)
def test_a_coarse_form_gives_nothing_but_its_listed_outputs(field: str) -> None:
    for value in VALUES[field]:
        assert visible(field, value, "C") in COARSE[field].outputs


@pytest.mark.parametrize("field", [field for field in VALUES if field not in ("minor", "immediate_danger")])
def test_a_coarse_form_makes_different_values_alike(field: str) -> None:
    outputs = {visible(field, value, "C") for value in VALUES[field]}

    assert len(outputs) < len(VALUES[field])


def test_each_governed_field_has_a_coarse_form() -> None:
    assert {field for fields in ROWS.values() for field in fields} == COARSE.keys()


@pytest.mark.parametrize("matrix", [{}, {row: {} for row in ROWS}, {"another_row": {"health": "F"}}])
def test_what_the_matrix_does_not_name_is_not_seen(matrix: Any) -> None:
    seen = minimise(offered(), "health", matrix)

    assert {getattr(seen, field) for fields in ROWS.values() for field in fields} == {None}


def test_a_sector_that_the_matrix_does_not_know_sees_nothing_of_her() -> None:
    seen = minimise(offered(), "justice", MATRIX)

    assert not set(FULL) & seen.model_dump(exclude_none=True).keys()


def test_the_address_is_set_and_nobody_addressed_reads_who_must_act() -> None:
    fact = offered(awaits=RECEIVER, awaits_desk="front-desk")

    seen = minimise(fact, "health", MATRIX, to=RECEIVER, number=4)

    assert (seen.to, seen.number) == (RECEIVER, 4)
    assert seen.awaits is seen.awaits_desk is None
    assert fact.awaits == RECEIVER, "the fact itself stays as it is"


def test_statistics_see_no_hop_whatever_the_matrix_says() -> None:
    generous: Matrix = {row: dict.fromkeys(READERS, "F") for row in ROWS}

    seen = for_statistics(offered(to=OWNER, number=1), generous, awaits=RECEIVER, awaits_desk="front-desk")

    assert not HOP_ONLY & seen.model_dump(exclude_none=True).keys()
    assert seen.needs == FULL["needs"]
    assert (seen.awaits, seen.awaits_desk) == (RECEIVER, "front-desk")


def test_statistics_see_the_coarse_column() -> None:
    seen = for_statistics(offered(), MATRIX)

    assert {field: getattr(seen, field) for field in COARSENED} == COARSENED


def test_a_fact_about_the_hop_alone_passes_unchanged() -> None:
    fact = ReferralWithdrawn(referral=an_id("referral", "one"), stop_contact=True, seal_by_at=NOON)

    assert minimise(fact, "police", {}) == for_statistics(fact, {}) == fact


@pytest.mark.parametrize("kind", FACTS.values(), ids=lambda kind: kind.type)
def test_every_field_of_every_fact_is_governed_hidden_or_about_the_hop(kind: type[FactBase]) -> None:
    governed = {field for fields in ROWS.values() for field in fields}

    assert kind.model_fields.keys() <= governed | HOP_ONLY | ADDRESSED_NEVER | ABOUT_THE_HOP


def test_no_hop_field_is_both_hidden_from_statistics_and_required() -> None:
    for kind in FACTS.values():
        required = {name for name, field in kind.model_fields.items() if field.is_required()}
        assert not required & HOP_ONLY, kind.type
