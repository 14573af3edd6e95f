"""Templates of a service in every language: nothing unescaped, nothing undefined, no script within a page."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.runtime.pages.languages import LANGUAGES, Language, Wording, message
from services.runtime.pages.tables import (
    Cell,
    Link,
    Mark,
    Moment,
    Month,
    Seconds,
    Sentence,
    Share,
    Signal,
    Term,
    Trend,
    plain,
)
from services.runtime.pages.trends import drawn

BASE: Final = Path(__file__).parent
"""Where the base template, the style sheet and their words are."""
STYLE_PATH: Final = "/pages/style.css"
SCRIPTS: Final = {"/pages/htmx-4.0.1.min.js": "htmx-4.0.1.min.js", "/pages/console.js": "console.js"}
"""The scripts of consoles, by path; that of others is named by its release, and never changes."""
NOTHING: Final = message("none")


class Pages:
    """The templates of one folder, over the base template."""

    def __init__(self, folder: Path) -> None:
        folders = (BASE, folder)
        self._wordings = {one: Wording(one, folders) for one in LANGUAGES}
        self._environments = {one: _environment(self._wordings[one], folders) for one in LANGUAGES}

    def render(self, template: str, language: Language, values: Mapping[str, Any]) -> bytes:
        """A page, in one language."""
        written = self._environments[language].get_template(template).render(values)
        return written.encode()


def _environment(wording: Wording, folders: tuple[Path, ...]) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folders[::-1]),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install: Any = environment
    install.install_gettext_translations(wording.translations, newstyle=True)
    environment.globals |= {
        "wording": wording,
        "languages": LANGUAGES,
        "style": STYLE_PATH,
        "scripts": SCRIPTS,
    }
    environment.filters |= {"said": wording.say, "cell": lambda cell: _markup(cell, wording)}
    return environment


def _markup(cell: Cell, wording: Wording) -> Markup:
    """A cell for people; data keeps its own direction whatever stands around it."""
    match cell:
        case Mark(inner, text):
            shown = (_markup(inner, wording), wording.say(text))
            return Markup('<div class="mark">{} <span class="why">{}</span></div>').format(*shown)
        case Term(_, text, count):
            counted = "" if count is None else Markup(" <b>{}</b>").format(wording.number(count))
            return Markup("{}{}").format(wording.say(text), counted)
        case Share(value):
            return Markup("{}").format(wording.per_cent(value))
        case Month(name):
            return Markup('<time datetime="{}">{}</time>').format(name, wording.month(name))
        case Moment() | Seconds() | Sentence() | Link() | Signal() | Trend():
            return _console_markup(cell, wording)
        case date():
            day = cell.isoformat()[:10]
            return Markup('<time datetime="{}">{}</time>').format(day, wording.day(cell))
        case tuple() if cell:
            items = (Markup("<li>{}</li>").format(_markup(one, wording)) for one in cell)
            return Markup("<ul>{}</ul>").format(Markup("").join(items))
        case int() | float():
            return Markup("{}").format(wording.number(cell))
        case str() if cell:
            return Markup("<bdi>{}</bdi>").format(cell)
    return Markup('<span class="nothing">{}</span>').format(wording.say(NOTHING))


def _console_markup(cell: Moment | Seconds | Sentence | Link | Signal | Trend, wording: Wording) -> Markup:
    """The cells that consoles have besides."""
    match cell:
        case Moment(at, is_exact):
            shown_at = wording.instant(at, is_exact=is_exact)
            return Markup('<time datetime="{}">{}</time>').format(plain(cell), shown_at)
        case Seconds(count):
            return Markup("{}").format(wording.lasting(count))
        case Sentence(text):
            return Markup('<span lang="en" dir="ltr">{}</span>').format(text)
        case Link(text, path):
            return Markup('<a href="{}"><bdi>{}</bdi></a>').format(path, text)
        case Signal(level, term):
            return Markup('<span class="signal {}">{}</span>').format(level, _markup(term, wording))
        case Trend(points):
            return drawn(points, wording)
