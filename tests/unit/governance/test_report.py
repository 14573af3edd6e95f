"""The partnership's page shows what the register holds, says what is missing, and costs a flood nothing."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from schemas.events.partnership import PHASES
from services.governance.domain.figures import Figure
from services.governance.domain.life_cycle import GovernanceRecord
from services.governance.domain.releases import JointRelease, ReleaseTable
from services.governance.pages.report import Report, report
from services.governance.pages.routes import LOOKED_EVERY, ROWS_MAX
from services.governance.pages.rows import ReportSource
from services.governance.pages.tables import TABLES
from services.runtime.errors import Unavailable
from services.runtime.pages.tables import Mark, Month, Share, plain
from services.runtime.tables_csv import csv_text
from tests.support.pages import PageStage
from tests.support.stage import A_LESSON, A_RECOMMENDATION, Stage, a_busy_stage, a_dialogue, a_scorecard

SEAT, UN = "seat river-alliance", "secretary un-office"
DAY = timedelta(days=1)


def report_of(stage: Stage) -> Report:
    return report(ReportSource(stage.register, stage.clock.now()))


def rows(stage: Stage, table: str) -> dict[str, list[object]]:
    """A table as machines read it: first cell → the others."""
    found = report_of(stage).tables[table].rows
    return {str(plain(row[0])): [plain(cell) for cell in row[1:]] for row in found}


def marks(row: Sequence[Any]) -> list[object]:
    return [plain(cell) for cell in row if isinstance(cell, Mark)]


def client(page: PageStage) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(page.app), base_url="http://governance")


def test_committees_show_their_seats_by_constituency_and_the_empty_ones() -> None:
    stage = a_busy_stage()

    found = rows(stage, "committees")

    assert found["cmt_steering"] == [
        "steering", "national", "ZZ", "constituted",
        "un 1; government 1; donor 1; civil_society 1; womens_movement 1", "", 40,
    ]  # fmt: skip
    assert found["cmt_saltmere"][5] == "un 1; womens_movement 1"


def test_an_expired_mandate_shows_what_it_blocks_until_another_one_covers_it() -> None:
    stage = a_busy_stage()
    before = rows(stage, "mandates")["mdt_saltmere"]
    stage.tick(DAY * 301)

    found = rows(stage, "mandates")

    assert (before[4:], found["mdt_saltmere"][4:]) == (["live", ""], ["expired", "protocol"])
    assert found["mdt_steering"][4:] == ["live", ""]
    assert next(iter(found)) == "mdt_saltmere"  # what blocks stands first


def test_decisions_by_level_and_whose_proposals_pass() -> None:
    stage = a_busy_stage()
    up = "dec_local"  # lies within: the district decides; the next one lies above and is tabled once alone
    stage.do("secretary ministry", "take", "decision", up, {"method": "vote"})
    local = {"committee": "cmt_saltmere", "meeting": "mtg_saltmere", "area": "ZZ01"}
    stage.decide("dec_up", "clinic", "ministry", "precinct", "river-alliance", by="ministry", **local)

    levels, influence = rows(stage, "decisions"), rows(stage, "influence")

    assert levels["national"] == [2, 0, 0, 66]
    assert levels["district"] == [1, 0, 1, 33]
    assert influence["un"] == [2, 2, 100]
    assert influence["government"] == [1, 0, 0]
    assert influence["sector_agency"] == [2, 1, 50]
    assert influence["academia"] == [0, 0, ""]


def test_an_empty_phase_is_a_gap_and_a_dialogue_without_those_concerned_is_marked() -> None:
    stage = a_busy_stage()
    heard = {"by_constituency": {"civil_society": 9, "government": 2}, "by_group": {"rural_women": 7}}
    stage.do(SEAT, "hold", "dialogue", "dlg_police", heard)
    stage.do(SEAT, "announce", "dialogue", "dlg_alone", a_dialogue(stage.clock.now(), phase="evaluation"))
    stage.do(SEAT, "hold", "dialogue", "dlg_alone", {"by_constituency": {"government": 12}})

    stage.decide("dec_watch", "un-office", "ministry", "river-alliance", "dawn-movement", phase="monitoring")

    tables = report_of(stage).tables

    gaps = [plain(row[0]) for row in tables["phases"].rows if isinstance(row[0], Mark)]
    assert gaps == [one for one in PHASES if one not in ("analysis", "planning", "monitoring", "evaluation")]
    phases = rows(stage, "phases")
    assert phases["analysis"][:4] == [1, 0, 0, 0]
    assert phases["evaluation"][:4] == [1, 0, 0, 1]
    assert phases["monitoring"][:4] == [0, 1, 0, 0]
    assert phases["analysis"][4:].count(1) == 1
    marked = {plain(row[0]): marks(row) for row in tables["dialogues"].rows}
    assert marked == {"dlg_police": [], "dlg_alone": [""]}


def test_recommendations_show_by_year_and_level_and_the_stalled_first() -> None:
    stage = a_busy_stage()
    stage.do(SEAT, "propose", "recommendation", "rec_waits", A_RECOMMENDATION)
    for number, changes in enumerate(("nothing", "rule", "budget")):
        said = {**A_RECOMMENDATION, "changes": changes, "level": "district"}
        stage.do(SEAT, "propose", "recommendation", f"rec_{number}", said)
        stage.do("seat ministry", "agree", "recommendation", f"rec_{number}")
    before = rows(stage, "stalled")
    stage.tick(DAY * 150)

    assert before == {}
    assert [*rows(stage, "stalled")] == ["rec_desks"]
    found = [[plain(cell) for cell in row] for row in report_of(stage).tables["recommendations"].rows]
    assert found == [
        ["2026", "national", 1, 0, 0, 0, 1, 0, 2],
        ["2026", "district", 0, 3, 0, 0, 0, 0, 3],
    ]
    assert report_of(stage).boxes[3].cell == Share(80)


def test_scorecards_are_means_of_what_groups_answered_and_lessons_name_what_they_changed() -> None:
    stage = a_busy_stage()
    other = a_scorecard(scores={**a_scorecard()["scores"], "timely": 1})
    stage.do("seat dawn-movement", "score", "scorecard", "scd_other", other)
    stage.do("seat dawn-movement", "score", "scorecard", "scd_gone", a_scorecard(service="legal_aid"))
    stage.do("seat dawn-movement", "withdraw", "scorecard", "scd_gone")
    before = rows(stage, "lessons")
    stage.do("seat ministry", "share", "lesson", "lsn_desks")

    assert rows(stage, "scorecards") == {
        "clinic": ["medical_care", "2025-Q4", 2, 4.0, 4.0, 4.0, 4.0, 2.5, 4.0, 4.0]}  # fmt: skip
    by = ["weak_institutions", "service", "rec_done"]
    assert (before, rows(stage, "lessons")) == ({}, {"lsn_desks": [A_LESSON["text"], *by]})


def test_the_burden_of_a_partner_stands_beside_what_it_offers() -> None:
    stage = a_busy_stage()
    hours = {"offers": [{"code": "staff_time", "amount": 10, "unit": "hours_a_month"}]}
    stage.do("seat clinic", "amend", "partner", "clinic", hours)
    stage.do("secretary ministry", "close", "meeting", "mtg_saltmere")
    for entry, amount in (("a", 8), ("b", 1)):
        said = {"entry": entry, "on": stage.clock.now().date(), "hours": amount, "activity": "joint_training"}
        stage.do("seat clinic", "log_effort", "mandate", "mdt_saltmere", said)

    burden = report_of(stage).tables["burden"].rows

    assert rows(stage, "burden")["clinic"] == ["sector_agency", 1, 9, 10, 0, 0]
    assert rows(stage, "burden")["ministry"] == ["government", 1, 0, 0, 1, 0]
    assert [plain(row[0]) for row in burden if marks(row)] == ["clinic"]


def test_public_acts_show_the_newest_month_first_and_two_years_alone() -> None:
    stage = Stage(a_busy_stage().rules.areas)
    months = ("2025-11", "2026-02", "2023-12", "2026-01")
    figures = [Figure("11", "decisions", month, ("adopted", "local"), 2) for month in months]

    found = report(ReportSource(stage.register, stage.clock.now(), figures)).tables["acts"].rows

    said = ["decisions", "adopted; local", 2]
    assert [[plain(cell) for cell in row] for row in found] == [
        ["2026-02", *said], ["2026-01", *said], ["2025-11", *said]]  # fmt: skip


def test_released_figures_are_shown_as_they_were_signed_and_a_draft_not_at_all() -> None:
    stage = a_busy_stage()
    release = stage.register.find(JointRelease, "rls_january")
    table = ReleaseTable(
        indicator="6", version=1, part="unmet_by_access_need", dimensions=("access_need", "area"),
        codes=(("interpreter", "transport", "wheelchair"), ("ZZ01", "ZZ02")),
        cells=(("interpreter", "ZZ01", "15"), ("interpreter", "ZZ02", "20"), ("transport", "ZZ01", "*")),
    )  # fmt: skip
    content = release.content.model_copy(update={"tables": (table,)})
    for name, state in (("rls_january", "published"), ("rls_december", "draft")):
        stage.register.put(GovernanceRecord(name, state, content, version=90))

    found = [[plain(cell) for cell in row] for row in report_of(stage).tables["released"].rows]

    about = ["rls_january", "2026-01", "unmet_by_access_need"]
    signed = content.signed_by
    assert found == [
        [*about, "interpreter; ZZ01", "15", signed], [*about, "interpreter; ZZ02", "20", signed],
        [*about, "transport; ZZ01", "*", signed],
    ]  # fmt: skip
    sealed, _, unmet, _ = report_of(stage).boxes
    assert (plain(unmet.cell), unmet.month) == ("interpreter 35", Month("2026-01"))
    assert (sealed.cell, sealed.source) == (None, "Too few to be shown.")
    corrected = content.model_copy(update={"corrects": "rls_january", "tables": ()})
    stage.register.put(GovernanceRecord("rls_mended", "published", corrected))
    assert report_of(stage).tables["released"].rows == []


def test_what_nothing_measures_says_so_and_an_empty_table_speaks() -> None:
    stage = Stage(a_busy_stage().rules.areas)

    boxes = report_of(stage).boxes

    assert [box.cell for box in boxes] == [None] * 4
    assert boxes[1].source == "Nothing measures this yet."
    assert all(one.empty for one in TABLES if one.id != "phases")  # phases are never empty: they show gaps


async def test_anybody_reads_the_page_and_each_table_and_no_more() -> None:
    page = PageStage(a_busy_stage())
    async with client(page) as http:
        read = await http.get("/partnership", headers={"accept-language": "ar"})
        french = await http.get("/partnership?lang=fr", headers={"accept-language": "ar"})
        tables = {one.id: await http.get(f"/partnership/{one.id}.csv") for one in TABLES}
        style = await http.get("/pages/style.css")
        refused = [await http.get(path) for path in ("/partnership/votes.csv", "/partnership?lang=xx")]
        again = await http.get("/partnership?lang=fr", headers={"if-none-match": french.headers["etag"]})

    assert '<html lang="ar" dir="rtl">' in read.text
    assert "Project-Id-Version" not in read.text  # what a catalogue says of itself
    assert '<html lang="fr" dir="ltr">' in french.text
    assert (french.headers["content-language"], french.headers["vary"]) == ("fr", "accept-language")
    for name, one in tables.items():
        header = one.text.splitlines()[0].split(",")
        assert (one.status_code, one.headers["content-type"]) == (200, "text/csv; charset=utf-8")
        assert header == [*next(table.columns for table in TABLES if table.id == name)]
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert [(one.status_code, one.json()["code"]) for one in refused] == [
        (404, "not_found"), (422, "invalid")]  # fmt: skip
    assert (again.status_code, again.content) == (304, b"")


async def test_however_many_ask_the_database_is_asked_once_and_the_page_is_made_once() -> None:
    stage = a_busy_stage()
    page = PageStage(stage)
    async with client(page) as http:
        first = [(await http.get("/partnership?lang=en")).content for _ in range(50)]
        looks = page.looks
        stage.do("seat ministry", "propose", "partner", "newcomer", {
            "constituency": "academia", "level": "national", "area": "ZZ"})  # fmt: skip
        stage.do("approver river-alliance", "confirm", "partner", "newcomer")
        early = (await http.get("/partnership?lang=en")).content
        stage.clock.forward(LOOKED_EVERY)
        late = (await http.get("/partnership?lang=en")).content
        stage.clock.forward(-LOOKED_EVERY)  # a clock that is set back stops no page
        await http.get("/partnership?lang=en")

    assert (looks, page.looks) == (1, 3)
    assert {*first, early} == {first[0]}
    assert (b"newcomer" in first[0], b"newcomer" in late) == (False, True)


async def test_partners_are_answered_while_a_page_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    page, made_in = PageStage(a_busy_stage()), set[int]()

    def noted(made: Any) -> Any:
        def make(*said: Any) -> Any:
            made_in.add(threading.get_ident())
            return made(*said)

        return make

    for name, made in (("report", report), ("csv_text", csv_text)):
        monkeypatch.setattr(f"services.governance.pages.routes.{name}", noted(made))
    async with client(page) as http:
        await http.get("/partnership/lessons.csv")

    assert made_in
    assert threading.get_ident() not in made_in


async def test_a_database_that_does_not_answer_is_left_alone_for_a_moment() -> None:
    page = PageStage(a_busy_stage())
    page.fails = Unavailable("no")
    async with client(page) as http:
        refused = [(await http.get("/partnership")).status_code for _ in range(20)]
        looks, page.fails = page.looks, None
        page.stage.clock.forward(LOOKED_EVERY)
        mended = await http.get("/partnership")

    assert (refused, looks, mended.status_code) == ([503] * 20, 1, 200)


async def test_three_thousand_records_make_a_page_of_bounded_size_and_a_whole_csv() -> None:
    stage = a_busy_stage()
    for number in range(1_000):
        name = f"dlg_{number}"
        stage.do(SEAT, "announce", "dialogue", name, a_dialogue(stage.clock.now()))
        stage.do(SEAT, "hold", "dialogue", name, {"by_constituency": {"government": 12}})
    async with client(PageStage(stage)) as http:
        page, table = await http.get("/partnership"), await http.get("/partnership/dialogues.csv")

    assert table.text.count("dlg_") == 1_000
    assert page.text.count("<bdi>dlg_") == ROWS_MAX
    assert len(page.content) < 200_000
    assert f"all in the CSV: {1_000 - ROWS_MAX}" in page.text
