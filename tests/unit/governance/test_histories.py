"""Recommendations of past years: a file is taken whole or not at all, by the rules of the acts."""

import csv
from collections import Counter
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest

from services.governance.domain.histories import COLUMNS, RowsRefused, recommendations_csv
from services.runtime.errors import Refused
from tests.support.clock import NOON
from tests.support.histories import COUNT, a_table, rows_of_years
from tests.support.stage import Stage, a_busy_stage, described, facts_of

WHO = "seat un-office"


def check(stage: Stage, table: str, name: str = "his_new") -> Any:
    return stage.do(WHO, "check", "history", name, {"table": table})[0].record


def load(stage: Stage, table: str, name: str = "his_new") -> list[Any]:
    check(stage, table, name)
    return stage.do("approver dawn-movement", "confirm", "history", name)


def test_years_come_in_at_once_with_their_days_and_go_out_the_same() -> None:
    stage, rows = a_busy_stage(), rows_of_years(NOON.date())
    generated = Counter((row["agreed_on"][:4], row["level"], row["state"]) for row in rows)
    assert len(generated) > 20
    assert {state for *_, state in generated} == {
        "verified", "implemented", "progressed", "assigned", "agreed", "stalled"}  # fmt: skip

    before = stage.everything()
    record = check(stage, a_table(*rows, header=COLUMNS))
    assert (record.content.rows, record.content.states) == (COUNT, Counter(row["state"] for row in rows))
    assert [one for one in stage.everything() if one.id != "his_new"] == before
    outcomes = stage.do("approver dawn-movement", "confirm", "history", "his_new")

    sent = recommendations_csv(stage.register)
    loaded = [row for row in csv.DictReader(StringIO(sent)) if row["id"] not in ("rec_desks", "rec_done")]
    assert Counter((row["agreed_on"][:4], row["level"], row["state"]) for row in loaded) == generated
    assert all(one.record.made_by == "" for one in outcomes[1:])
    facts = [(fact.type, one.act.at.year) for one in outcomes for fact in one.facts]
    agreed = Counter(at for kind, at in facts if kind == "governance.recommendation_agreed")
    expected = [row["agreed_on"][:4] for row in rows for _ in row["agreed_by"].split(";")[1:]]
    assert agreed == Counter(map(int, expected))
    other = Stage(stage.rules.areas)
    other.found()
    table = "\r\n".join(line for line in sent.split("\r\n") if not line.startswith(("rec_desks", "rec_done")))
    load(other, table)
    assert recommendations_csv(other.register) == table
    assert facts_of(stage.tick()) == []


def test_the_clock_stalls_a_row_on_the_day_on_which_it_would_have() -> None:
    stage = a_busy_stage()
    row = {"verified_by": "", "verified_on": "", "implemented_on": "", "evidence": ""}

    outcomes = load(stage, a_table(row | {"due_on": "2021-06-01"}))

    acts = [(one.act.name, str(one.act.at.date())) for one in outcomes[1:]]
    assert acts == [
        ("propose", "2021-03-01"), ("agree", "2021-03-01"), ("assign", "2021-03-01"), ("stall", "2021-06-01"),
        ("progress", "2021-09-01"), ("stall", "2021-10-01"),
    ]  # fmt: skip
    assert outcomes[-1].record.state == "stalled"


BAD: list[tuple[str, dict[str, str]]] = [
    (
        "row_unfit: correct the cells of these columns: agreed_on, level",
        {"level": "=1", "agreed_on": "1 May"},
    ),
    ("row_unfit", {"agreed_by": "ministry"}),
    ("row_unfit", {"agreed_on": "20210301"}),
    ("row_unfit", {"agreed_on": "0001-01-01", "due_on": "0001-02-01"}),
    ("row_unfit", {"causes": "lack_of_services;"}),
    ("row_unfit: correct the cells of these columns: causes", {"causes": "ada_lin"}),
    ("row_unfit: correct the cells of these columns: pillar", {"pillar": "ada_lin"}),
    ("row_unfit: correct the cells of these columns: evidence", {"evidence": "ada_lin"}),
    ("row_unfit", {"per_cent": "100"}),
    ("row_unfit", {"per_cent": "4_0"}),
    ("row_unfit", {"id": "dec_other"}),
    ("row_unfit", {"state": "Ada Lin"}),
    ("row_unpaired", {"due_on": ""}),
    ("row_unpaired", {"evidence": ""}),
    ("title_names_somebody", {"text": "Let the desk call Ada Lin within an hour."}),
    ("title_names_somebody", {"text": "Let the desk call 0772 123 456 at once."}),
    ("unknown_area", {"area": "ZZ99"}),
    ("unknown_reference", {"agreed_by": "ministry;nobody"}),
    ("unknown_reference", {"owner": "school"}),
    ("agreed_already", {"agreed_by": "ministry;council"}),
    ("due_unfit", {"due_on": "2021-03-01"}),
    ("due_unfit", {"due_on": "2031-03-01"}),
    ("own_verification", {"verified_by": "ministry"}),
    ("own_verification", {"verified_by": "council"}),
    ("days_unordered", {"progressed_on": "2021-02-28"}),
    ("days_unordered", {"verified_on": "2022-01-31"}),
    ("days_unordered", {"agreed_on": "2099-01-01", "due_on": "2099-02-01"}),
    ("not_in_this_state", {"implemented_on": "", "evidence": ""}),
    ("not_in_this_state", {"owner": "", "due_on": ""}),
    ("already_there", {"id": "rec_desks"}),
]


@pytest.mark.parametrize(("said", "changes"), BAD, ids=lambda one: str(one))
def test_one_bad_row_refuses_the_file_with_its_line_and_never_its_words(
    said: str, changes: dict[str, str]
) -> None:
    stage = a_busy_stage()
    stage.do(WHO, "propose", "partner", "council", described("government"))
    stage.do("approver ministry", "confirm", "partner", "council")
    before = stage.everything()

    with pytest.raises(RowsRefused) as refused:
        check(stage, a_table({}, changes, {}, header=COLUMNS))

    assert refused.value.members == {"rows": 3, "refused": 1}
    ((line, detail),) = [one.values() for one in refused.value.errors]
    assert (line, detail.startswith(said)) == ("#/lines/3", True), detail
    assert not any(cell in detail for cell in changes.values() if len(cell) > 3)
    assert stage.everything() == before


@pytest.mark.parametrize(
    "table", ["", "text,level\r\n", a_table(), a_table({}) + "one,two\r\n", a_table({}) + '"x"y\r\n\r\n']
)
def test_what_is_no_table_of_these_columns_is_refused(table: str) -> None:
    with pytest.raises(RowsRefused) as refused:
        check(a_busy_stage(), table)

    assert all(one["detail"].startswith("no_table") for one in refused.value.errors)


def test_a_long_file_names_a_hundred_lines_and_counts_the_rest() -> None:
    stage = a_busy_stage()
    with pytest.raises(RowsRefused) as refused:
        check(stage, a_table(*[{"area": "ZZ99"}] * 150, {}))

    assert refused.value.members == {"rows": 151, "refused": 150}
    assert len(refused.value.errors) == 100


def test_ten_thousand_rows_are_tried_and_one_more_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.governance.domain.histories.ROWS_MAX", 2)
    stage = a_busy_stage()

    with pytest.raises(Refused, match="table_too_large"):
        check(stage, a_table({}, {}, {}))


def test_a_confirmation_tries_the_rows_anew() -> None:
    stage = a_busy_stage()
    check(stage, a_table({"verified_by": "open-hand-fund"}))
    stage.do("approver open-hand-fund", "leave", "partner", "open-hand-fund")
    before = stage.everything()

    with pytest.raises(RowsRefused):
        stage.do("approver dawn-movement", "confirm", "history", "his_new")

    assert stage.everything() == before


def test_the_days_are_none_that_the_table_refuses() -> None:
    """Today counts as past, from its first minute on."""
    stage = a_busy_stage()
    stage.clock.forward(timedelta(hours=-11))
    today = str(stage.clock.now().date())
    row = {"agreed_on": today, **dict.fromkeys(("progressed_on", "implemented_on", "verified_on"), today)}

    assert load(stage, a_table(row | {"due_on": str(NOON.date() + timedelta(days=9))}))
