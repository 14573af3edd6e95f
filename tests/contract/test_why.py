"""The page that says how each sentence of the founding text is kept names only what is there."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/why-partners-decide.md").read_text("utf-8")
NAMED: Final = set(re.findall(r"`([^`]+)`", PAGE))
PLACES: Final = (ROOT, ROOT / "services/governance")


def functions() -> set[str]:
    texts = (path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    return {name for text in texts for name in re.findall(r"\bdef (\w+)\(", text)}


def test_every_file_and_test_that_the_page_names_is_there() -> None:
    tests = {name for name in NAMED if re.fullmatch(r"(test|row)_\w+", name)}
    files = {name for name in NAMED if "/" in name}

    assert tests <= functions()
    assert [name for name in files if not any((place / name).exists() for place in PLACES)] == []


def test_the_page_names_each_step_of_the_year_and_each_row_of_the_text() -> None:
    year = (ROOT / "tests/e2e/test_partnership_year.py").read_text("utf-8")
    rows = set(re.findall(r"^\|(\w+|-)\|", PAGE, re.MULTILINE))
    numbers = {*map(str, range(1, 13)), *(f"T{number}" for number in range(1, 5))}
    steps = set(re.findall(r"^    (row_\w+),$", year, re.MULTILINE))

    assert steps <= NAMED
    assert {step.split("_")[1].upper() for step in steps} == numbers
    assert rows == numbers | {f"P{number}" for number in range(1, 5)} | {"-"}
    assert len(PAGE.splitlines()) <= 90
