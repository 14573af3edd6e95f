"""A batch of entries: each is judged for itself."""

from typing import Any

import pytest

from services.referrals.domain.directory import RefusedEntry, judge_entries
from tests.support.builders import an_entry


def content(**changes: Any) -> dict[str, Any]:
    return an_entry().model_dump(mode="json") | changes


@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        (7, "entry", "invalid"),
        ({}, "service", "invalid"),
        (content(service="17"), "service", "invalid"),
        (content(desk="The Desk"), "desk", "invalid"),
        (content(confirmed_at="2026-01-01T00:00:00"), "confirmed_at", "invalid"),
        (content(title="Shelter \u202egnirts"), "title", "hidden_character"),
        (content(organization_title="Harbour\x92s"), "organization_title", "hidden_character"),
        (content(title=" "), "title", "hidden_character"),
        (content(title="\ufeff"), "title", "hidden_character"),
        (content(needs=[]), "needs", "no_known_need"),
        (content(needs=["time_travel"]), "needs", "unknown_code"),
        (content(access_needs=["time_travel"]), "access_needs", "unknown_code"),
        (content(areas=["the harbour"]), "areas", "invalid"),
        (content(languages=["English"]), "languages", "invalid"),
    ],
)
def test_one_bad_entry_is_refused_by_row_field_and_code_and_the_rest_is_taken(
    wrong: Any, field: str, code: str
) -> None:
    taken, refused = judge_entries([content(), wrong])

    assert taken == [an_entry()]
    assert refused == [RefusedEntry(2, field, code)]


def test_two_entries_of_one_service_are_one() -> None:
    taken, refused = judge_entries([content(), content(title="Night clinic")])

    assert taken == [an_entry()]
    assert refused == [RefusedEntry(2, "service", "repeated")]


def test_what_the_contract_does_not_name_is_not_kept() -> None:
    taken, _ = judge_entries([content(phone="+44 20 7946 0000")])

    assert "7946" not in taken[0].model_dump_json()
