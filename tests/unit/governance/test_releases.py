"""Releases: drawn once, when a month is over and its facts are in, and served as they were drawn."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from schemas.events.learning import ReleasePublished
from services.governance.domain import releases
from services.governance.domain.areas import read_areas
from services.governance.domain.disclosure import VOID
from services.governance.domain.figures import AREA
from services.governance.domain.releases import CODES, RELEASES
from services.governance.domain.rules import FiguresUnread
from services.governance.domain.tables import CYCLES
from services.governance.store import INDICATORS
from services.runtime.errors import Refused
from tests.support.partnership import AREAS
from tests.support.stage import Stage, a_busy_stage, a_scorecard, facts_of, figures

FEBRUARY = {"period": "2026-02"}


@pytest.fixture
def stage() -> Stage:
    """The fifteenth of March, when February may be released."""
    stage = Stage(read_areas(AREAS.read_text("utf-8")))
    stage.found()
    stage.clock.forward(datetime(2026, 3, 15, tzinfo=UTC) - stage.clock.now())
    return stage


def published(stage: Stage, name: str, **more: str) -> ReleasePublished:
    stage.do("seat ministry", "ask", "release", name, {**FEBRUARY, **more})
    (signed,) = stage.do("approver dawn-movement", "sign", "release", name)
    (fact,) = signed.facts
    assert isinstance(fact, ReleasePublished)
    return fact


def count(stage: Stage, **needs: int) -> None:
    stage.rules = replace(stage.rules, figures=figures(**needs))


def shown(stage: Stage, name: str) -> dict[str, str]:
    by_need = stage.content("release", name).shown()["referrals_by_need"]
    return {need: by_need[need, "ZZ0101"] for need in ("medical_care", "safe_shelter", "legal_aid")}


def test_a_release_is_a_draft_until_civil_society_signs_and_says_small_of_whatever_it_does_not_list(
    stage: Stage,
) -> None:
    stage.do("seat ministry", "ask", "release", "rls_one", FEBRUARY)
    assert stage.state("release", "rls_one") == "draft"

    told = stage.do("approver dawn-movement", "sign", "release", "rls_one")

    assert facts_of(told) == ["release_published"]
    content = stage.content("release", "rls_one")
    table = next(one for one in content.tables if one.part == "referrals_by_need")
    assert table.cells == (("medical_care", "ZZ0101", "40"), ("safe_shelter", "ZZ0101", "60"))
    assert shown(stage, "rls_one") == {"medical_care": "40", "safe_shelter": "60", "legal_aid": "<11"}
    assert len(table.shown()) == 11 * 22  # every need, and one that is not known; every area, and `other`


@pytest.mark.parametrize(("zone", "opens"), [
    ("UTC", datetime(2026, 3, 15, tzinfo=UTC)),
    ("Pacific/Auckland", datetime(2026, 3, 14, 11, tzinfo=UTC)),
    ("America/Lima", datetime(2026, 3, 15, 5, tzinfo=UTC)),
])  # fmt: skip
def test_harm_13_no_month_is_drawn_before_it_is_frozen_and_then_it_stays(
    stage: Stage, zone: str, opens: datetime
) -> None:
    stage.rules = replace(stage.rules, zone=ZoneInfo(zone))
    stage.clock.forward(opens - stage.clock.now() - timedelta(seconds=1))
    with pytest.raises(Refused, match="period_open"):
        stage.do("seat ministry", "ask", "release", "rls_one", FEBRUARY)
    stage.clock.forward(timedelta(seconds=1))
    published(stage, "rls_one")
    before = stage.content("release", "rls_one").model_dump_json()

    count(stage, medical_care=43)

    assert stage.content("release", "rls_one").model_dump_json() == before
    with pytest.raises(Refused, match="released_already"):
        published(stage, "rls_two")


@pytest.mark.parametrize(("zone", "ends"), [
    ("Pacific/Auckland", datetime(2026, 3, 31, 11, tzinfo=UTC)),
    ("America/Lima", datetime(2026, 4, 1, 5, tzinfo=UTC)),
])  # fmt: skip
def test_a_quarter_is_over_when_its_last_month_is(zone: str, ends: datetime) -> None:
    stage = a_busy_stage()
    stage.rules = replace(stage.rules, zone=ZoneInfo(zone))
    stage.clock.forward(ends - stage.clock.now() - timedelta(seconds=1))
    said = a_scorecard(quarter="2026-Q1")
    with pytest.raises(Refused, match="quarter_open"):
        stage.do("seat dawn-movement", "score", "scorecard", "scd_new", said)
    stage.clock.forward(timedelta(seconds=1))

    stage.do("seat dawn-movement", "score", "scorecard", "scd_new", said)


def test_harm_13_a_month_that_is_drawn_whenever_somebody_asks_tells_of_one_referral(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(row._replace(needs=()) if row.act == "ask" else row for row in RELEASES.rows)
    stage.cycles = {**CYCLES, "release": replace(RELEASES, rows=rows)}
    monkeypatch.setattr(releases, "_releases", lambda *_: [])
    for cares in (42, 43):
        count(stage, medical_care=cares)
        stage.do("seat ministry", "ask", "release", f"rls_{cares}", {"period": "2026-03"})

    assert [shown(stage, f"rls_{cares}")["medical_care"] for cares in (42, 43)] == ["40", "45"]


def test_harm_13_whoever_drops_a_draft_and_asks_again_gets_the_same_tables(stage: Stage) -> None:
    stage.do("seat ministry", "ask", "release", "rls_one", FEBRUARY)
    stage.do("seat ministry", "drop", "release", "rls_one")
    count(stage, medical_care=43)

    with pytest.raises(
        Refused, match="released_already"
    ):  # who drops one after the other would fill the table
        stage.do("seat ministry", "ask", "release", "rls_two", FEBRUARY)
    stage.do("seat un-office", "ask", "release", "rls_two", FEBRUARY)

    assert shown(stage, "rls_two") == shown(stage, "rls_one")


def test_a_correction_names_the_release_before_it_and_shows_what_moved_by_fifteen_or_more(
    stage: Stage,
) -> None:
    published(stage, "rls_one")
    count(stage, medical_care=50, safe_shelter=110, legal_aid=6)

    fact = published(stage, "rls_two", corrects="rls_one")

    assert (fact.period, fact.corrects, fact.signed_by) == ("2026-02", "rls_one", "dawn-movement")
    assert shown(stage, "rls_two") == {"medical_care": "40", "safe_shelter": "110", "legal_aid": "<11"}
    assert shown(stage, "rls_one")["safe_shelter"] == "60"
    with pytest.raises(Refused, match="correction_unfit"):
        published(stage, "rls_three", corrects="rls_one")


def test_exact_counts_are_asked_for_by_nothing_that_is_refused_anyway(stage: Stage) -> None:
    stage.rules = replace(stage.rules, figures=None)

    with pytest.raises(FiguresUnread, match="2026-02"):
        stage.do("seat ministry", "ask", "release", "rls_one", FEBRUARY)
    with pytest.raises(Refused, match="period_open"):
        stage.do("seat ministry", "ask", "release", "rls_one", {"period": "2026-03"})


def test_every_table_of_people_divides_what_another_one_names_and_has_its_codes_listed() -> None:
    parts = [part for one in INDICATORS.values() if one.persons for part in one.parts]
    names = [part.name for part in parts]
    bases = {part.total.removeprefix("some ").partition(".")[0]: part for part in parts}

    assert len({*names}) == len(names)
    assert all(part.name != base for base, part in bases.items())
    assert {one for part in parts for one in part.dimensions} == {*CODES, AREA, "agency"}
    for part in parts:
        base, _, code = part.total.removeprefix("some ").partition(".")
        whole = next((one for one in parts if one.name == base), None)
        assert not code or (whole and code in CODES[whole.dimensions[0]])
        assert not part.total.startswith("some ") or whole or any(one.total == base for one in parts)
    assert VOID not in {code for codes in CODES.values() for code in codes}
