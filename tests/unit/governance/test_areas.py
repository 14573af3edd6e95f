"""The tree of areas: what lies in what, and which file is none."""

from collections import Counter
from pathlib import Path

import pytest

from services.governance.domain import areas
from services.governance.domain.areas import AreasUnreadable, read_areas
from tests.support.shared import shared_data

SHIPPED = (Path(__file__).parents[3] / "deploy/local/areas.csv").read_text()
HEADING = ",".join(areas.COLUMNS)
PROVINCE, DISTRICT = "ZZ,1,ZZ01,Planted,ZZ,2026-01-01", "ZZ,2,ZZ0101,Planted,ZZ01,2026-01-01"


def test_the_shipped_country_has_four_provinces_and_sixteen_districts() -> None:
    found = read_areas(SHIPPED)

    assert Counter(entry.level for entry in found) == {0: 1, 1: 4, 2: 16}
    assert [one.level for one in found if one.code in ("ZZ", "ZZ01", "ZZ0104")] == [0, 1, 2]
    assert ["ZZ0104" in found, "ZZ0199" in found] == [True, False]


@pytest.mark.parametrize(
    ("outer", "inner", "contained"),
    [
        ("ZZ", "ZZ0104", True), ("ZZ01", "ZZ0104", True), ("ZZ0104", "ZZ0104", True), ("ZZ", "ZZ", True),
        ("ZZ0104", "ZZ01", False), ("ZZ02", "ZZ0104", False), ("ZZ01", "ZZ0199", False),
        ("ZZ99", "ZZ99", False), ("", "ZZ", False), ("ZZ99", "ZZ01", False),
    ],
)  # fmt: skip
def test_an_area_contains_itself_and_what_lies_in_it(outer: str, inner: str, *, contained: bool) -> None:
    assert read_areas(SHIPPED).contains(outer, inner) == contained


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([HEADING + ",Planted", PROVINCE], "line 1: name just these columns"),
        ([HEADING.replace("Name,", ""), PROVINCE], "line 1: name just these columns"),
        ([], "line 1: name just these columns"),
        ([HEADING, PROVINCE, PROVINCE], "line 3: list each area once"),
        ([HEADING, DISTRICT], "name as its parent an area of the file"),
        ([HEADING, PROVINCE.replace(",ZZ,", ",ZZ01,")], "one level below its parent"),
        ([HEADING, PROVINCE.replace(",ZZ,", ",ZZ0101,"), DISTRICT], "one level below its parent"),
        ([HEADING, PROVINCE, DISTRICT.replace("2", "1", 1)], "one level below its parent"),
        ([HEADING, PROVINCE.replace(",ZZ,", ",,")], "one level below its parent"),
        ([HEADING, PROVINCE.replace("1", "Planted", 1)], "line 2: write six cells"),
        ([HEADING, PROVINCE.replace("ZZ01", "planted")], "line 2: write six cells"),
        ([HEADING, PROVINCE + ",more"], "line 2: write six cells"),
        ([HEADING, PROVINCE.replace("Planted", '"Plan"ted')], "line 2: write six cells"),
        ([HEADING, "Planted " + PROVINCE], "line 2: write six cells"),
        ([HEADING, *[f"ZZ,1,ZZ{number},Planted,ZZ," for number in range(50_001)]], "to 50000 rows"),
        ([HEADING, " " * areas.CHARACTERS_MAX], "characters"),
    ],
)
def test_a_file_that_is_no_tree_is_refused_without_its_values(rows: list[str], said: str) -> None:
    with pytest.raises(AreasUnreadable, match=said) as refused:
        read_areas("\n".join(rows))

    assert "lanted" not in str(refused.value)


def test_the_p_codes_of_real_countries_are_read_by_the_same_reader() -> None:
    text = shared_data("geography/global-pcodes-adm-1-2.csv", cases=32_767).read_text("utf-8")

    found = read_areas(text)

    counts = Counter(
        (country, entry.level)
        for entry in found
        for country in ("KEN", "UGA")
        if found.contains(country, entry.code)
    )
    assert counts == {
        ("KEN", 0): 1,
        ("KEN", 1): 47,
        ("KEN", 2): 290,
        ("UGA", 0): 1,
        ("UGA", 1): 4,
        ("UGA", 2): 135,
    }
