"""What each reader sees of a packet: every cell of the default matrix, by the one filter."""

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.events.facts import ReferralOffered
from schemas.events.packet import (
    FIELD_ROWS,
    GROUP_MODELS,
    GROUPS,
    OWN_CASE,
    ContactHours,
    PacketContact,
    SafeContact,
    may_contact,
    show_group,
)
from schemas.wire.minimisation import Matrix, minimise, rows_of
from tests.support.builders import MATRIX, an_id

READERS = ("social_services", "health", "police", "education", "justice", "civil_society", "referrals")
CELLS = """
need                  F F F C F F C
age                   F F F F F F C
access                F F F F F F C
danger                F F F C F F C
safe_contact          F F F F O F N
identity              F O O O O O N
home_location         F N O N O O N
violence_type         F C C N C C N
perpetrator_relation  F C O C O C N
perpetrator_identity  O N O N O N N
children              F C C C O C N
shelter_location      O N N N N N N
incident_time         F C O N O N N
narrative             F N O N O N N
clinical              O F N N O N N
legal_wish            F N O N O C N
displacement          O N N N O O N
school                O N N N N N N
involvement           F N N N N N C
"""
"""What each reader may see, in the order of `READERS`; the last row is nobody's field and never travels."""
TABLE = {
    row: dict(zip(READERS, cells, strict=True)) for row, *cells in map(str.split, CELLS.split("\n")[1:-1])
}
PACKET: dict[str, dict[str, Any]] = {
    group: json.loads(
        next((Path(__file__).parents[3] / f"schemas/examples/packet.{group}").iterdir()).read_text()
    )
    for group in GROUPS
}
COARSE: dict[str, Any] = {
    "violence_types": ["medical_care_first", "support_first"],
    "perpetrator_relation": "near",
    "children": True,
    "wish": False,
    "incident_at": 63,
}
"""The coarse form of each field of the examples that has one; three days less nine hours have passed."""
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVERY_FIELD = [(group, field) for group in GROUPS for field in FIELD_ROWS[group]]


def named(group: str) -> set[str]:
    return {f"{group}.{field}" for field in FIELD_ROWS[group]}


def show(
    group: str,
    content: Any,
    reader: str,
    matrix: Matrix,
    names: Collection[str] = (),
    fields: Collection[str] | None = None,
) -> dict[str, Any]:
    wanted = FIELD_ROWS[group] if fields is None else fields
    return show_group(group, content, reader, matrix, names, fields=wanted, at=AT)


def test_the_default_protocol_holds_the_table_of_the_field() -> None:
    assert {row: cells for row, cells in TABLE.items() if row != "involvement"} == MATRIX


def test_every_row_governs_a_field_and_the_last_none() -> None:
    wire = {row.name for row in rows_of(ReferralOffered).values()}
    rows = {row.name for rows in FIELD_ROWS.values() for row in rows.values()}

    assert wire | rows == TABLE.keys() - {"involvement"}
    assert len(TABLE) == 19


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_sees_each_field_as_its_cell_says(reader: str) -> None:
    for group, field in EVERY_FIELD:
        cell = TABLE[FIELD_ROWS[group][field].name][reader]
        expected = {"F": PACKET[group][field], "C": COARSE.get(field)}
        if reader == "education" and field == "perpetrator_relation":
            expected["C"] = "none"

        unnamed = show(group, PACKET[group], reader, MATRIX, ())
        by_name = show(group, PACKET[group], reader, MATRIX, named(group))

        assert unnamed.get(field) == expected.get(cell), field
        assert by_name.get(field) == (expected["F"] if cell == "O" else expected.get(cell)), field


@pytest.mark.parametrize("group", GROUPS)
def test_whoever_recorded_it_sees_all_of_it_and_the_example_is_one_of_its_group(group: str) -> None:
    assert show(group, PACKET[group], OWN_CASE, {}, ()) == PACKET[group]
    parsed = GROUP_MODELS[group].model_validate_json(json.dumps(PACKET[group]))
    assert parsed.model_dump(mode="json", exclude_none=True) == PACKET[group]
    assert PACKET[group].keys() == FIELD_ROWS[group].keys()


@pytest.mark.parametrize("field", ["name", "phone"])
def test_a_name_or_number_is_never_shown_without_her_rules(field: str) -> None:
    shown = show("contact", PACKET["contact"], "justice", MATRIX, {f"contact.{field}"})

    assert shown == {}


def test_only_what_the_protocol_lets_it_pull_is_shown() -> None:
    for asked in (["phone"], ["name", "phone"]):
        assert show("contact", PACKET["contact"], OWN_CASE, {}, fields=asked) == {}
    shown = show("contact", PACKET["contact"], OWN_CASE, {}, fields=["safe_contact", "phone"])
    assert shown.keys() == {"safe_contact", "phone"}


def test_what_is_no_field_of_the_group_is_not_shown_whatever_it_is() -> None:
    planted = {**PACKET["legal"], "home": "planted"}

    for reader in (OWN_CASE, *READERS):
        assert "planted" not in str(show("legal", planted, reader, MATRIX, named("legal")))


RIGHTS = st.dictionaries(st.sampled_from(sorted(TABLE)), st.dictionaries(
    st.sampled_from(READERS), st.sampled_from("FCON")
))  # fmt: skip


@given(matrix=RIGHTS, reader=st.sampled_from(READERS), names=st.sets(st.sampled_from(
    [f"{group}.{field}" for group, field in EVERY_FIELD]
)))  # fmt: skip
def test_no_outlet_shows_what_another_hides(matrix: Any, reader: str, names: set[str]) -> None:
    """Inbox event, feed of statistics and pull follow one cell each: what is N or not named is nowhere."""
    rights: Matrix = matrix
    offered = ReferralOffered(
        referral=an_id("referral", "one"), needs=("medical_care",), urgency="critical", age_band="adult",
        minor=False, access_needs=("interpreter",), immediate_danger=True, weapons=False,
    )  # fmt: skip
    on_the_wire = minimise(offered, reader, rights).model_dump(exclude_none=True)
    for field, row in rows_of(ReferralOffered).items():
        assert (field in on_the_wire) == (matrix.get(row.name, {}).get(reader) in ("F", "C")), field
    for group, field in EVERY_FIELD:
        shown = show(group, PACKET[group], reader, rights, names)
        assert shown.keys() <= PACKET[group].keys()
        cell = matrix.get(FIELD_ROWS[group][field].name, {}).get(reader, "N")
        if field in shown:
            assert cell in ("F", "C") or (cell == "O" and f"{group}.{field}" in names)
            assert (shown[field] == PACKET[group][field]) == (cell != "C")


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("contact", {"name": "A"}, "number_without_rules"),
    ("contact", {"phone": "+000 000 000"}, "number_without_rules"),
    ("contact", {"phone": "call me"}, "string_pattern_mismatch"),
    ("protection", {"home": "x" * 2_001}, "string_too_long"),
    ("protection", {"children": ["under_5"] * 21}, "too_long"),
    ("clinical", {"pep": "perhaps"}, "literal_error"),
    ("legal", {"wish": 1}, "literal_error"),
    ("education", {"school": "a\x00b"}, "string_pattern_mismatch"),
    ("narrative", {"incident_at": "2026-11-18"}, "value_error"),
    ("narrative", {"account": "x" * 50_001}, "string_too_long"),
    *((group, {"planted": "x"}, "extra_forbidden") for group in GROUPS),
]


@pytest.mark.parametrize(("group", "content", "code"), WRONG)
def test_what_is_out_of_bounds_is_refused_and_never_repeated(
    group: str, content: dict[str, Any], code: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        GROUP_MODELS[group].model_validate(content)

    assert refused.value.errors()[0]["type"] == code
    assert not any(str(value) in str(refused.value) for value in content.values() if len(str(value)) > 3)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"zone": "Nowhere/At_All"}, "unknown_zone"),
        ({"zone": "../etc/passwd"}, "string_pattern_mismatch"),
        ({"hours": []}, "too_short"),
        (
            {"hours": [{"days": ["monday"], "from_time": "22:00", "until_time": "02:00"}]},
            "hours_out_of_order",
        ),
    ],
)
def test_rules_that_say_nothing_clear_are_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SafeContact.model_validate(PACKET["contact"]["safe_contact"] | changes)

    assert refused.value.errors()[0]["type"] == code


def test_no_repr_shows_what_she_told() -> None:
    for group in GROUPS:
        shown = repr(GROUP_MODELS[group].model_validate(PACKET[group]))
        texts = [text for text in PACKET[group].values() if isinstance(text, str)]
        assert not any(text in shown for text in texts), shown
    assert "library" not in repr(PacketContact.model_validate(PACKET["contact"]).safe_contact)


DATES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(DATES, st.sampled_from(["call", "email"]))
def test_harm_2_nobody_may_call_outside_her_rules(at: datetime, channel: str) -> None:
    rules = SafeContact.model_validate(PACKET["contact"]["safe_contact"])
    there = at + timedelta(hours=3)  # Nairobi knows no summer time

    on_day, in_hours = there.weekday() in (0, 2), (9, 0) <= (there.hour, there.minute) < (11, 30)

    assert may_contact(rules, channel, at) == (channel == "call" and on_day and in_hours)


def test_her_hours_are_those_of_her_clocks_also_when_they_change() -> None:
    rules = SafeContact(
        channels=("call",), zone="Europe/London",
        hours=(ContactHours(days=("sunday",), from_time="09:00", until_time="24:00"),),
    )  # fmt: skip

    moments = [datetime(2026, 3, day, hour, 30, tzinfo=UTC) for day in (22, 29) for hour in (8, 22, 23)]

    assert [may_contact(rules, "call", at) for at in moments] == [False, True, True, True, True, False]
