"""Every text that pages show has its words in every language, and none is left over."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from schemas.events import codes, dialogue, learning, partnership
from services.governance.pages.terms import TERMS
from services.runtime.pages.languages import ENGLISH, LANGUAGES, WORDS

SERVICES: Final = Path(__file__).parents[2] / "services"
FOLDERS: Final = [path.parent for path in sorted(SERVICES.glob("*/*/words"))]
METHODS: Final = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]
KEYWORDS: Final[Mapping[str, Any]] = {"_": None, "message": None, "gettext": None}
PLACES: Final = re.compile(r"%\(\w+\)s")


def messages_of(folder: Path) -> set[str]:
    """Every text that the code and the templates of a folder mark."""
    found = extract_from_dir(folder, METHODS, {"**.html": {"extensions": "jinja2.ext.i18n"}}, KEYWORDS)
    return {one[2] for one in found}


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != ENGLISH])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: "-".join(path.parts[-2:]))
def test_a_language_says_everything_and_puts_each_value_in_its_place(folder: Path, language: str) -> None:
    with (folder / WORDS / f"{language}.po").open("rb") as opened:
        catalogue = read_po(opened, abort_invalid=True)
    said = {one.id: one.string for one in catalogue if one.id}

    assert said.keys() == messages_of(folder)
    assert [text for text, words in said.items() if not words.strip()] == []
    moved = [text for text, words in said.items() if PLACES.findall(text) != PLACES.findall(words)]
    assert moved == []
    assert not any(one.fuzzy for one in catalogue if one.id)


def test_every_code_that_the_page_may_show_has_words() -> None:
    lists = (
        partnership.CONSTITUENCIES, partnership.LEVELS, partnership.SUBJECTS, partnership.PHASES,
        dialogue.GROUPS, dialogue.CAUSES, codes.NEEDS, codes.ACCESS_NEEDS, learning.QUESTIONS,
    )  # fmt: skip

    assert {code for one in lists for code in one} <= TERMS.keys()
