"""The table of pulls against a reading of the document's rows that shares nothing with it."""

import json
import timeit
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import facts
from schemas.events.consent import PURPOSES
from schemas.events.governance import BASES, ProtocolDocument
from schemas.events.packet import FIELD_ROWS, GROUPS, PACKET_ROWS
from schemas.events.policy import PullFacts, PullKey, compile_pulls, decide, show_packet
from tests.support.builders import DEFAULT_PROTOCOL, MATRIX, a_protocol
from tests.unit.schemas.test_packet import AT, PACKET, READERS

SECTORS = READERS[:-1]
DEFAULT = a_protocol()
STRANGE = {"recipient": "press", "group": "secrets", "purpose": "curiosity", "basis": "friendship"}


def naive(document: Any, recipient: str, group: str, purpose: str, basis: str) -> list[str]:
    """The fields, by walking the rows as they are written; none means denied."""
    found = set()
    for row in document["pulls"]:
        for field in row["fields"]:
            if row["recipient"] != recipient or row["group"] != group or row["basis"] != basis:
                continue
            if purpose not in row["purposes"] or field not in FIELD_ROWS[group]:
                continue
            if basis == "break_glass" and group not in ("contact", "protection"):
                continue
            column = document["matrix"].get(FIELD_ROWS[group][field].name, {})
            if basis == "own_case" or column.get(recipient, "N") != "N":
                found.add(field)
    return sorted(found)


def compare(document: ProtocolDocument) -> int:
    table = compile_pulls(document)
    plain = json.loads(document.model_dump_json())
    allowed = 0
    for recipient, group, purpose, basis in product(SECTORS, GROUPS, PURPOSES, BASES):
        decision = decide(PullFacts(recipient, (group,), purpose, basis), table)
        expected = naive(plain, recipient, group, purpose, basis)
        assert sorted(decision.fields.get(group, ())) == expected
        assert decision.allowed == bool(expected) == (decision.code == "allowed")
        allowed += decision.allowed
    return allowed


def test_the_default_protocol_is_read_alike_in_every_combination() -> None:
    table = compile_pulls(DEFAULT)

    assert table.cells.keys() == set(map(PullKey._make, product(SECTORS, GROUPS, PURPOSES, BASES)))
    assert compare(DEFAULT) == 184


ROW: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    recipient=st.sampled_from(SECTORS),
    group=st.sampled_from(GROUPS),
    fields=st.lists(
        st.sampled_from([name for rows in FIELD_ROWS.values() for name in rows]), min_size=1, max_size=4
    ),
    purposes=st.lists(st.sampled_from(PURPOSES), min_size=1, max_size=3),
    basis=st.sampled_from(BASES),
)
CELLS = st.dictionaries(st.sampled_from(SECTORS), st.sampled_from("FCON"))
ROWS = st.dictionaries(st.sampled_from(list(MATRIX)), CELLS)


@settings(max_examples=40, deadline=None)
@given(pulls=st.lists(ROW, max_size=12), matrix=ROWS)
def test_any_document_is_read_alike_in_every_combination(pulls: Any, matrix: Any) -> None:
    compare(a_protocol(pulls=pulls, matrix=matrix))


def test_the_default_rows_are_the_table_of_the_field_and_two_exceptions() -> None:
    """A court gets the certificate and what is for counsel, the police her own statement."""
    except_for = {
        ("justice", "clinical"): {"certificate"},
        ("justice", "narrative"): {"incident_at", "for_counsel"},
        ("police", "narrative"): {"incident_at", "statement"},
    }
    rows = {
        (row["recipient"], row["group"]): set(row["fields"])
        for row in DEFAULT_PROTOCOL["pulls"]
        if row["basis"] == "consent"
    }
    for sector, group in product(SECTORS, GROUPS):
        seen = {field for field, row in FIELD_ROWS[group].items() if MATRIX[row.name][sector] != "N"}
        assert rows.get((sector, group), set()) == except_for.get((sector, group), seen)


CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "allowed"),
    ({"groups": ()}, "nothing_asked"),
    ({"groups": ("clinical", "narrative", "legal")}, "group_not_shared"),
    ({"purpose": "investigation"}, "purpose_not_shared"),
    ({"basis": "break_glass"}, "group_not_shared"),
    ({"recipient": STRANGE["recipient"]}, "unknown_code"),
    ({"groups": ("clinical", STRANGE["group"])}, "unknown_code"),
    ({"purpose": STRANGE["purpose"]}, "unknown_code"),
    ({"basis": STRANGE["basis"]}, "unknown_code"),
]


@pytest.mark.parametrize(("changes", "code"), CASES)
def test_a_pull_is_allowed_whole_or_denied_with_a_code(changes: dict[str, Any], code: str) -> None:
    facts = PullFacts("health", ("clinical", "protection"), "care", "consent")._replace(**changes)

    decision = decide(facts, compile_pulls(DEFAULT))

    assert (decision.code, decision.allowed) == (code, code == "allowed")
    assert set(decision.fields) == (set(facts.groups) if decision.allowed else set())
    assert show_packet(facts, decision, PACKET, (), DEFAULT, at=AT).keys() == decision.fields.keys()


def shown(recipient: str, groups: tuple[str, ...], basis: str, *names: str) -> dict[str, Any]:
    facts = PullFacts(recipient, groups, "protection", basis)
    return show_packet(facts, decide(facts, compile_pulls(DEFAULT)), PACKET, names, DEFAULT, at=AT)


def test_consent_names_fields_danger_stands_in_for_it_and_an_own_case_is_seen_whole() -> None:
    contact, whole = ("contact",), PACKET["contact"]

    assert shown("police", contact, "consent") == {"contact": {"safe_contact": whole["safe_contact"]}}
    assert shown("police", contact, "consent", "contact.name") == {
        "contact": {"safe_contact": whole["safe_contact"], "name": whole["name"]}
    }
    assert shown("police", contact, "break_glass") == {"contact": whole}
    assert shown("health", GROUPS, "own_case") == PACKET
    assert shown("justice", ("clinical",), "consent", "clinical.hiv", "clinical.certificate") == {
        "clinical": {"certificate": PACKET["clinical"]["certificate"]}
    }


def test_a_decision_takes_microseconds() -> None:
    table, facts = compile_pulls(DEFAULT), PullFacts("social_services", GROUPS, "protection", "own_case")

    assert min(timeit.repeat(lambda: decide(facts, table), number=2_000, repeat=5)) / 2_000 < 20e-6


def test_harm_27_a_school_pulls_no_violence_for_any_purpose_and_statistics_know_none() -> None:
    table = compile_pulls(DEFAULT)
    pulled = {
        field
        for group, purpose, basis in product(GROUPS, PURPOSES, ("consent", "break_glass"))
        for field in decide(PullFacts("education", (group,), purpose, basis), table).fields.get(group, ())
    }
    asked = PullFacts("education", ("protection",), "schooling", "consent")
    named = {"protection.perpetrator_relation"}
    of_school = show_packet(asked, decide(asked, table), PACKET, named, DEFAULT, at=AT)

    assert pulled == {"safe_contact", "name", "phone", "perpetrator_relation", "children"}
    assert of_school == {"protection": {"perpetrator_relation": "none", "children": True}}
    assert not PACKET_ROWS & facts.ROWS, "what she told is no field of any fact"
