"""The languages that pages speak, what they call things, and how they write numbers and dates."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.support import Translations
from babel.units import format_unit

Language = Literal["en", "fr", "es", "ar", "sw"]
ENGLISH: Final[Language] = "en"
LANGUAGES: Final[Mapping[Language, str]] = {
    "en": "English",
    "fr": "Français",
    "es": "Español",
    "ar": "العربية",
    "sw": "Kiswahili",
}
"""Each language that pages speak, by its own name."""
RIGHT_TO_LEFT: Final = frozenset({"ar"})
WORDS: Final = "words"
"""The folder beside a page's code with a `.po` file a language; English stands in code and templates."""
FORMATS: Final = {"en": "en_001"}
"""Whose numbers and dates a language uses, where not its own: English is not the one of a single country."""
HEADER_CHARACTERS_MAX: Final = 200
"""How much of a header of languages is read."""
UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_QUALITY: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def message(text: str) -> str:
    """Marks a text that pages show, so that every language has it."""
    return text


def language_of(asked: Language | None, accepted: str) -> Language:
    """The language that was asked for, or else the first of those that a browser accepts, or English."""
    if asked:
        return asked
    wanted = []
    for place, one in enumerate(accepted[:HEADER_CHARACTERS_MAX].split(",")):
        tag, *parameters = one.replace(" ", "").lower().split(";")
        weight = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        wanted.append((-_weight(weight), place, tag.partition("-")[0]))
    fit = (one for refused, _, tag in sorted(wanted) if refused for one in LANGUAGES if one == tag)
    return next(fit, ENGLISH)


class Wording:
    """One language: its words, its direction, its numbers and dates."""

    def __init__(self, language: Language, folders: Sequence[Path]) -> None:
        self.language = language
        self._format = FORMATS.get(language, language)
        self.direction = "rtl" if language in RIGHT_TO_LEFT else "ltr"
        self.translations: Any = Translations()
        for folder in folders if language != ENGLISH else ():
            self.translations.merge(_compiled(folder / WORDS / f"{language}.po"))

    def say(self, text: str) -> str:
        """The text in this language."""
        return str(self.translations.ugettext(text)) if text else ""  # the empty one names the catalogue

    def number(self, number: float) -> str:
        """A number."""
        return str(format_decimal(number, locale=self._format))

    def per_cent(self, number: int) -> str:
        """So many per cent."""
        return str(format_percent(number / 100, locale=self._format))

    def day(self, day: date) -> str:
        """A day, of an instant the one in its own time zone."""
        return str(format_date(day, format="long", locale=self._format))

    def month(self, month: str) -> str:
        """A month that is given as `2027-02`."""
        return str(format_date(date.fromisoformat(f"{month}-01"), format="LLLL y", locale=self._format))

    def instant(self, at: datetime, *, is_exact: bool) -> str:
        """An instant as the clocks of Greenwich show it, to the minute or exactly to the second."""
        pattern = "d MMM y, HH:mm:ss" if is_exact else "d MMM y, HH:mm"
        return f"{format_datetime(at.astimezone(UTC), pattern, locale=self._format)} UTC"

    def lasting(self, seconds: float) -> str:
        """How long something lasts, in the largest unit of which it has two."""
        unit, length = next(((one, size) for one, size in UNITS if seconds >= 2 * size), UNITS[-1])
        return _counted(self._format, unit, round(seconds / length))


@lru_cache(maxsize=4_096)
def _counted(locale: str, unit: str, count: int) -> str:
    """A page has hundreds of them, most of them equal."""
    return str(format_unit(count, f"duration-{unit}", length="short", locale=locale))


def _weight(text: str) -> float:
    """A quality of RFC 9110; what is none counts as refused."""
    return float(text) if _QUALITY.fullmatch(text) else 0.0


def _compiled(file: Path) -> Any:
    with file.open("rb") as opened:
        catalogue = read_po(opened)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)
