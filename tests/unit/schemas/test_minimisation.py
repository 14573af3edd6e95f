"""The one filter: every wire field for every reader, and no field that escapes the tables."""

from itertools import product
from typing import Any, get_args

import pytest

from schemas.events.codes import NEEDS, AgeBand
from schemas.events.facts import FACTS, FactBase, ReferralOffered, ReferralWithdrawn
from schemas.events.governance import URGENCIES
from schemas.wire.minimisation import (
    PARTIES,
    STATISTICS,
    Audience,
    Matrix,
    Visibility,
    minimise,
    rows_of,
    unmarked,
)
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
OUTPUTS: dict[str, set[Any]] = {
    "needs": {("support",), ("support_at_school",), ("support", "support_at_school")},
    "urgency": {"urgent", "routine"},
    "age_band": {"child", "adult"},
    "minor": {True, False},
    "access_needs": {("some",), ()},
    "immediate_danger": {True, False},
    "weapons": {False},
}
"""Field → whatever can come out of its coarse form."""
FIELDS = rows_of(ReferralOffered)
ROWS = {row.name: [name for name, mark in FIELDS.items() if mark.name == row.name] for row in FIELDS.values()}
READERS = ("social_services", "health", "police", "education", "referrals")


def fields_for(kind: type[FactBase], audience: Audience) -> set[str]:
    """The fields that are marked for these readers."""
    return {name for name, field in kind.model_fields.items() if audience in field.metadata}


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


@pytest.mark.parametrize("allowed", get_args(Visibility))
def test_a_reader_sees_each_field_as_its_row_allows(allowed: Visibility) -> None:
    for row, reader in product(ROWS, READERS):
        seen = minimise(offered(), reader, {**MATRIX, row: {**MATRIX[row], reader: allowed}})

        for field in ROWS[row]:
            expected = {"F": FULL[field], "C": COARSENED[field], "O": None, "N": None}[allowed]
            assert getattr(seen, field) == expected, (field, reader)


@pytest.mark.parametrize("field", VALUES)
def test_a_coarse_form_gives_nothing_but_its_listed_outputs(field: str) -> None:
    assert {FIELDS[field].seen(value, "C") for value in VALUES[field]} <= OUTPUTS[field]


def test_each_governed_field_is_tried() -> None:
    assert FIELDS.keys() == FULL.keys() == COARSENED.keys() == VALUES.keys() == OUTPUTS.keys()


@pytest.mark.parametrize("matrix", [{}, {row: {} for row in ROWS}, {"another_row": {"health": "F"}}])
def test_what_the_matrix_does_not_name_is_not_seen(matrix: Any) -> None:
    seen = minimise(offered(), "health", matrix)

    assert {getattr(seen, field) for fields in ROWS.values() for field in fields} == {None}


def test_the_address_is_set_and_nobody_addressed_reads_who_must_act() -> None:
    fact = offered(awaits=RECEIVER, awaits_desk="front-desk")

    seen = minimise(fact, "health", MATRIX, to=RECEIVER, number=4)

    assert (seen.to, seen.number) == (RECEIVER, 4)
    assert seen.awaits is seen.awaits_desk is None
    assert fact.awaits == RECEIVER, "the fact itself stays as it is"


def test_statistics_see_no_hop_whatever_the_matrix_says() -> None:
    generous: Matrix = {row: dict.fromkeys(READERS, "F") for row in ROWS}

    seen = minimise(
        offered(to=OWNER, number=1), STATISTICS, generous, awaits=RECEIVER, awaits_desk="front-desk"
    )

    hidden = fields_for(ReferralOffered, PARTIES)
    assert not hidden & seen.model_dump(exclude_none=True).keys()
    assert seen.needs == FULL["needs"]
    assert (seen.awaits, seen.awaits_desk) == (RECEIVER, "front-desk")


def test_a_fact_about_the_hop_alone_passes_unchanged() -> None:
    fact = ReferralWithdrawn(referral=an_id("referral", "one"), stop_contact=True, seal_by_at=NOON)

    assert minimise(fact, "police", {}) == minimise(fact, STATISTICS, {}) == fact


class NewlyOffered(ReferralOffered):
    """An offer with a field that somebody added, and thought of no row."""

    shelter: str | None = None


class PoliceInformed(FactBase):
    """A fact that somebody added."""

    type = "referral.police_informed"

    station: str | None = None


def test_a_field_without_a_mark_is_told_before_anything_starts() -> None:
    assert list(unmarked(FACTS.values())) == []
    assert list(unmarked([NewlyOffered, PoliceInformed])) == [
        "referral.offered.shelter", "referral.police_informed.station",
    ]  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_a_field_without_a_mark_is_dropped_whatever_the_matrix_says(reader: str) -> None:
    generous: Matrix = {row: dict.fromkeys(READERS, "F") for row in (*ROWS, "shelter", "station")}
    offer = NewlyOffered(**offered().model_dump(), shelter="planted")
    informed = PoliceInformed(referral=an_id("referral", "one"), station="planted")

    for fact in (offer, informed):
        for seen in (minimise(fact, reader, generous, to=RECEIVER), minimise(fact, STATISTICS, generous)):
            assert "planted" not in str(seen.model_dump(warnings=False))


def test_a_right_that_is_no_right_shows_nothing() -> None:
    assert FIELDS["urgency"].seen("critical", "X") is None  # type: ignore[arg-type]


def test_only_what_everybody_sees_is_required() -> None:
    for kind in FACTS.values():
        required = {name for name, field in kind.model_fields.items() if field.is_required()}

        assert required <= fields_for(kind, Audience.EVERYBODY), kind.type
