"""Directories as their publishers write them: what is taken, what is refused, and what is never kept."""

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.events.codes import NEEDS
from schemas.events.directory import ServiceRegistered
from services.cli.directory_source import (
    NEED_WORDS,
    DirectoryRow,
    Finding,
    NothingToRead,
    RefusedRow,
    SourcePage,
    from_hsds,
    needs_of,
    read_directory,
)
from tests.support.clock import NOON
from tests.support.shared import REPOSITORY, shared_data

SERVICE = "ac148810-d857-441c-9679-408f346de14b"
ORGANIZATION = "d9d5e0f5-d3ce-4f73-9a2f-4dd0ecc6c610"
FICTIONAL = REPOSITORY / "deploy" / "local" / "directory" / "services.json"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
CSV_FIELD_MAX = csv.field_size_limit()


def a_service(**changes: Any) -> dict[str, Any]:
    row = {
        "id": SERVICE,
        "name": "Day counselling",
        "status": "active",
        "organization": {"id": ORGANIZATION, "name": "Harbour House"},
        "assured_date": "2026-02-01",
        "last_modified": "2026-03-01T10:30:45.123Z",
    }
    return {name: value for name, value in (row | changes).items() if value is not None}


def read_one(**changes: Any) -> ServiceRegistered | RefusedRow | SourcePage:
    (found,) = from_hsds("page.json", a_service(**changes), NOON)
    return found.entry if isinstance(found, DirectoryRow) else found


def entries(found: Iterable[Finding]) -> list[ServiceRegistered]:
    return [one.entry for one in found if isinstance(one, DirectoryRow)]


def refusals(found: Iterable[Finding]) -> list[tuple[int, str, str]]:
    return [(one.row, one.field, one.code) for one in found if isinstance(one, RefusedRow)]


@pytest.mark.parametrize(
    "document",
    [
        a_service(),
        [a_service()],
        {"total_items": 1, "contents": [a_service()]},
        {"id": ORGANIZATION, "name": "Harbour House", "services": [a_service(organization=None)]},
    ],
    ids=["one service", "a list", "a page", "an organisation with its services"],
)
def test_each_shape_of_document_gives_the_same_entry(document: Any) -> None:
    (entry,) = entries(from_hsds("page.json", document, NOON))

    assert entry == ServiceRegistered(
        service=SERVICE,
        organization=ORGANIZATION,
        title="Day counselling",
        organization_title="Harbour House",
        status="active",
        needs=("psychosocial_support",),
        desk="duty",
        confirmed_at=datetime(2026, 2, 1, tzinfo=UTC),
    )


def a_term(code: str) -> dict[str, Any]:
    return {"taxonomy_term": {"code": code, "name": "Whatever it is called"}}


def test_areas_languages_and_access_are_taken_where_they_are_codes() -> None:
    entry = read_one(
        service_areas=[{"uri": "urn:p-code:KE047"}, {"uri": "https://areas.example/KE"}, {"name": "KE"}, 7],
        languages=[{"code": "sw"}, {"code": "English"}, {"name": "en"}, {"code": 7}, {"code": "sw"}],
        attributes=[a_term("Sign Language"), a_term("wheelchair"), a_term("no interpreter")],
        accessibility=[{"description": "wheelchair access: none; transport on Mondays"}],
    )

    assert isinstance(entry, ServiceRegistered)
    assert (entry.areas, entry.languages) == (("KE047",), ("sw",))
    assert entry.access_needs == ("sign_language", "wheelchair")


@pytest.mark.parametrize(
    ("changes", "confirmed_at"),
    [
        ({}, "2026-02-01T00:00:00+00:00"),
        ({"assured_date": None}, "2026-03-01T10:30:45.123000+00:00"),
        ({"assured_date": None, "last_modified": None}, NOON.isoformat()),
    ],
)
def test_an_entry_was_confirmed_when_assured_else_when_modified_else_now(
    changes: dict[str, None], confirmed_at: str
) -> None:
    entry = read_one(**changes)

    assert isinstance(entry, ServiceRegistered)
    assert entry.confirmed_at.isoformat() == confirmed_at


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"id": "17"}, "id", "not_a_uuid"),
        ({"id": None}, "id", "not_a_uuid"),
        ({"name": " "}, "attributes", "no_known_need"),
        ({"name": "Swimming lessons"}, "attributes", "no_known_need"),
        ({"name": "Counselling, call +44 20 7946 0000"}, "name", "holds_a_contact"),
        ({"name": "Counselling at ask@house.example"}, "name", "holds_a_contact"),
        ({"name": "counselling " * 40}, "name", "too_long"),
        ({"name": "Women\x92s shelter"}, "name", "hidden_character"),
        ({"name": "Shelter \u202egnirts"}, "name", "hidden_character"),
        ({"name": "Shelter \u2067"}, "name", "hidden_character"),
        ({"organization": {"id": ORGANIZATION, "name": "\ufeff"}}, "organization.name", "hidden_character"),
        ({"name": "Shelter \ud800"}, "name", "hidden_character"),
        ({"name": "Shelter 020 1999 2020"}, "name", "holds_a_contact"),
        ({"name": "Shelter 2026-9999"}, "name", "holds_a_contact"),
        ({"assured_date": "0001-01-01T00:00:00+14:00"}, "confirmed_at", "invalid"),
        ({"status": "open"}, "status", "invalid"),
        ({"organization": None}, "organization", "missing"),
        ({"organization": {"id": "x", "name": "Harbour House"}}, "organization.id", "not_a_uuid"),
        ({"organization": {"id": ORGANIZATION}}, "organization.name", "missing"),
        ({"assured_date": "last spring"}, "assured_date", "not_a_date"),
        ({"assured_date": "2029-01-01"}, "assured_date", "in_the_future"),
        ({"organization": None, "status": None}, "service", "not_a_service"),
    ],
)
def test_what_cannot_be_taken_is_named_by_field_and_code(
    changes: dict[str, Any], field: str, code: str
) -> None:
    assert read_one(**changes) == RefusedRow("page.json", 1, field, code)


@pytest.mark.parametrize("name", ["2026-2027", "2026-03-01", "since 01.03.2026", "2026.03.01 to 2027.03.01"])
def test_years_and_dates_are_no_telephone_numbers(name: str) -> None:
    assert isinstance(read_one(name=f"Counselling {name}"), ServiceRegistered)


@pytest.mark.parametrize("field", ["assured_date", "last_modified"])
def test_today_in_auckland_is_not_the_future(field: str) -> None:
    before = {"assured_date": None, "last_modified": None}
    tomorrow = str((NOON + timedelta(hours=13)).date())

    entry = read_one(**(before | {field: tomorrow}))

    assert isinstance(entry, ServiceRegistered)
    assert entry.confirmed_at == NOON
    assert read_one(**(before | {field: str((NOON + timedelta(days=2)).date())})) == RefusedRow(
        "page.json", 1, field, "in_the_future"
    )


def test_services_within_an_organisation_are_refused_by_their_place_in_it() -> None:
    nested = [a_service(organization=None), 7, a_service(organization=None, id="17")]
    house = {"id": ORGANIZATION, "name": "Harbour House", "services": nested}

    found = list(from_hsds("page.json", {"contents": [a_service(id="16"), house]}, NOON))

    assert [entry.organization_title for entry in entries(found)] == ["Harbour House"]
    assert refusals(found) == [
        (1, "id", "not_a_uuid"),
        (2, "services.2.service", "not_a_service"),
        (2, "services.3.id", "not_a_uuid"),
    ]


@pytest.mark.parametrize(
    ("name", "titles", "refused"),
    [
        ("control-character-in-title.json", [], [(1, "name", "hidden_character")]),
        ("organisations-with-nested-services.json", ["Night shelter"], []),
        ("years-in-a-name.json", ["School counselling 2026-2027"], []),
        ("windows-1252-table", [], [(2, "service_name", "windows_1252")]),
    ],
)
def test_what_failed_once_is_taken_or_refused_by_its_row(
    name: str, titles: list[str], refused: list[tuple[int, str, str]]
) -> None:
    found = list(read_directory(shared_data(f"found/{name}"), NOON))

    assert [entry.title for entry in entries(found)] == titles
    assert refusals(found) == refused


def test_a_document_with_two_members_of_one_name_is_refused_and_the_other_is_read(tmp_path: Path) -> None:
    one = json.dumps(a_service())
    (tmp_path / "a.json").write_text(one.replace('"status"', '"name": "Shelter", "status"'))
    (tmp_path / "b.json").write_text(one)

    found = list(read_directory(tmp_path, NOON))

    assert found[:-1] == [RefusedRow("a.json", 0, "document", "repeated_name")]
    assert [entry.title for entry in entries(found)] == ["Day counselling"]


def test_a_table_with_two_columns_of_one_name_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "services.csv").write_text(
        "service_uuid,service_name,organization_uuid,service_name\na,b,o,c\n"
    )
    (tmp_path / "organizations.csv").write_text("organization_uuid,organization_name\no,Harbour Law\n")

    with pytest.raises(NothingToRead):
        list(read_directory(tmp_path, NOON))


def test_a_row_in_another_charset_or_with_a_field_too_long_costs_itself_alone(tmp_path: Path) -> None:
    head = b"service_uuid,service_name,organization_uuid\n"
    rows = [
        b"a,Advice,o",
        b"b,Women\x92s advice,o",
        b"c," + b"x" * 200_000 + b",o",
        b"\xe9,Advice,o",
        b"e,Help,o",
    ]
    (tmp_path / "services.csv").write_bytes(head + b"\n".join(rows))
    (tmp_path / "organizations.csv").write_bytes(b"organization_uuid,organization_name\no,Harbour Law\n")

    found = list(read_directory(tmp_path, NOON))

    assert [entry.title for entry in entries(found)] == ["Advice", "Help"]
    assert refusals(found) == [
        (3, "service_name", "windows_1252"),
        (4, "service_name", "too_long"),
        (5, "service_uuid", "windows_1252"),
    ]
    csv.field_size_limit(CSV_FIELD_MAX)


@pytest.mark.parametrize("document", [7, None, "text", [7], {"contents": [None]}, {"version": "3.0"}])
def test_what_is_no_service_is_refused_not_guessed(document: Any) -> None:
    assert list(from_hsds("page.json", document, NOON)) == [
        RefusedRow("page.json", 1, "service", "not_a_service")
    ]


def test_needs_come_from_terms_by_code_and_from_words() -> None:
    assert needs_of(["Legal clinic"]) == ("legal_aid",)
    assert needs_of(["Safe Shelter"]) == ("safe_shelter",)
    assert needs_of(["school-support", "Mental health and case management"]) == (
        "case_coordination", "psychosocial_support", "school_support",
    )  # fmt: skip
    assert needs_of(["Preschooling"]) == ()


def test_every_need_has_words() -> None:
    assert NEED_WORDS.keys() == NEEDS


def test_a_term_tells_the_need_where_the_name_does_not() -> None:
    term = {"taxonomy_term": {"id": SERVICE, "name": "Police protection"}}

    entry = read_one(name="The blue door", attributes=[term, "noise", {}])

    assert isinstance(entry, ServiceRegistered)
    assert entry.needs == ("police_protection",)


def test_contacts_addresses_and_places_are_not_kept() -> None:
    planted = {
        "email": "planted@house.example",
        "phones": [{"number": "+44 20 7946 0999"}],
        "locations": [{"latitude": 1.2345, "addresses": [{"address_1": "9 Hidden Lane"}]}],
        "description": "ring +44 20 7946 0999",
    }

    entry = read_one(**planted)

    assert isinstance(entry, ServiceRegistered)
    kept = entry.model_dump_json()
    for secret in ("planted", "7946", "1.2345", "Hidden"):
        assert secret not in kept


LEGAL = {
    "service_uuid": "row-7",
    "organization_uuid": "org-1",
    "service_name": "Housing",
    "service_email": "planted@house.example",
}


def read_legal_aid(folder: Path, **changes: str) -> Finding:
    """What is read of a legal-aid folder with one service."""
    row = LEGAL | changes
    (folder / "services.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    (folder / "organizations.csv").write_text("organization_uuid,organization_name\norg-1,Harbour Law\n")
    (found,) = read_directory(folder, NOON)
    return found


def test_the_legal_aid_layout_answers_one_need_and_ids_that_are_no_uuids_become_some(tmp_path: Path) -> None:
    (entry,), again = entries([read_legal_aid(tmp_path)]), entries([read_legal_aid(tmp_path)])

    assert [entry] == again
    assert (entry.needs, entry.organization_title, entry.confirmed_at) == (
        ("legal_aid",),
        "Harbour Law",
        NOON,
    )
    assert "planted" not in entry.model_dump_json()


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"service_uuid": ""}, "service_uuid", "missing"),
        ({"service_name": ""}, "service_name", "missing"),
        ({"organization_uuid": "org-2"}, "organization_uuid", "unknown_organization"),
    ],
)
def test_a_row_of_the_legal_aid_layout_is_refused_by_its_line(
    tmp_path: Path, changes: dict[str, str], field: str, code: str
) -> None:
    assert read_legal_aid(tmp_path, **changes) == RefusedRow("services.csv", 2, field, code)


def test_the_first_entry_of_a_service_counts(tmp_path: Path) -> None:
    page = tmp_path / "page.json"
    page.write_text(json.dumps([a_service(), a_service(name="Night counselling")]))

    found = list(read_directory(page, NOON))

    assert [one.title for one in entries(found)] == ["Day counselling"]
    assert found[1] == RefusedRow("page.json", 2, "service", "repeated")


def test_a_folder_is_read_file_by_file_and_a_broken_file_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{broken")
    (tmp_path / "b.json").write_text(json.dumps([a_service()]))
    (tmp_path / "c.json").write_bytes(b'{"name": "\xff"}')

    found = list(read_directory(tmp_path, NOON))

    assert [one.source for one in found if isinstance(one, RefusedRow)] == ["a.json", "c.json"]
    assert len(entries(found)) == 1


@pytest.mark.parametrize("name", ["nowhere", "empty", "other/services.csv"])
def test_a_path_without_a_directory_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "services.csv").write_text("id,name\n1,x\n")

    with pytest.raises(NothingToRead):
        list(read_directory(tmp_path / name, NOON))


def test_the_fictional_directory_is_taken_whole_and_answers_every_need() -> None:
    found = list(read_directory(FICTIONAL, NOON))

    assert len(entries(found)) == len(found) == 19
    assert len({entry.organization for entry in entries(found)}) == 15
    assert {need for entry in entries(found) for need in entry.needs} == NEEDS
    assert {entry.confirmed_at for entry in entries(found)} == {NOON}, "it never grows stale by itself"


def test_the_real_legal_aid_directory_is_taken_whole() -> None:
    folder = shared_data("hsds/real-florida-legal-aid", 135)

    found = entries(read_directory(folder, NOON))

    assert len(found) == 135
    assert {entry.needs for entry in found} == {("legal_aid",)}
    assert len({entry.organization for entry in found}) == 18


@pytest.mark.parametrize(
    ("path", "taken", "refused"), [("hsds/oruk-3.0-test", 1, 131), ("hsds/3.0/examples", 1, 6)]
)
def test_published_examples_of_hsds_give_their_one_service(path: str, taken: int, refused: int) -> None:
    found = list(read_directory(shared_data(path, taken + refused), NOW))

    assert len(entries(found)) == taken
    assert len(refusals(found)) == refused
    codes = {one.code for one in found if isinstance(one, RefusedRow)}
    assert codes <= {"repeated", "missing", "not_a_service"}
