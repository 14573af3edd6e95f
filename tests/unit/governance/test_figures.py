"""What the file of an indicator must say of itself."""

import pytest

from services.governance.domain.figures import IndicatorPart, IndicatorUnreadable, read_indicator
from services.governance.store import INDICATORS

GOOD = """-- id: 99
-- title: A title
-- definition: What it counts: this.
-- version: 2
-- persons: yes
-- part: by_need; need, area; wholes
-- part: all_of_them; ; wholes

SELECT 1
"""


def test_a_file_says_what_it_counts_and_how_its_parts_are_cut() -> None:
    indicator = read_indicator(GOOD, "WITH common AS (SELECT 2)\n")

    assert (indicator.id, indicator.version, indicator.persons) == ("99", 2, True)
    assert indicator.definition == "What it counts: this."
    assert indicator.parts == (
        IndicatorPart("by_need", ("need", "area"), "wholes"),
        IndicatorPart("all_of_them", (), "wholes"),
    )
    assert indicator.sql == "WITH common AS (SELECT 2)\n" + GOOD
    assert read_indicator(GOOD.replace("yes", "no"), "WITH common").sql == GOOD.replace("yes", "no")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-- id: 99\n", ""),
        ("-- id: 99\n", "-- id: 99\n-- id: 98\n"),
        ("-- id: 99\n", "-- id: 99\n-- color: red\n"),
        ("-- id: 99\n", "-- id:\n"),
        ("persons: yes", "persons: perhaps"),
        ("-- part: by_need; need, area; wholes\n-- part: all_of_them; ; wholes\n", ""),
        ("need, area;", "need, urgency, area;"),
        ("need, area;", "area, need;"),
    ],
)
def test_a_file_that_does_not_is_no_indicator(old: str, new: str) -> None:
    with pytest.raises(IndicatorUnreadable):
        read_indicator(GOOD.replace(old, new))


def test_every_indicator_has_a_number_of_its_own_and_no_part_twice() -> None:
    parts = [part.name for one in INDICATORS.values() for part in one.parts]

    assert len(parts) == len(set(parts))
