"""Templates of a service in every language: nothing unescaped, nothing undefined, no script."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.runtime.pages.languages import LANGUAGES, Language, Wording, message
from services.runtime.pages.tables import Cell, Mark, Month, Share, Term

BASE: Final = Path(__file__).parent
"""Where the base template, the style sheet and their words are."""
STYLE_PATH: Final = "/pages/style.css"
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
    environment.globals |= {"wording": wording, "languages": LANGUAGES, "style": STYLE_PATH}
    environment.filters |= {"said": wording.say, "cell": lambda cell: _markup(cell, wording)}
    return environment


def _markup(cell: Cell, wording: Wording) -> Markup:
    """A cell for people; data keeps its own direction whatever stands around it."""
    match cell:
        case Mark(inner, text):
            shown = (_markup(inner, wording), wording.say(text))
            return Markup('<div class="mark">{} <span class="why">{}</span></div>').format(*shown)
        case Term(_, text, None):
            return Markup("{}").format(wording.say(text))
        case Term(_, text, count):
            return Markup("{} <b>{}</b>").format(wording.say(text), wording.number(count or 0))
        case Share(value):
            return Markup("{}").format(wording.per_cent(value))
        case Month(name):
            return Markup('<time datetime="{}">{}</time>').format(name, wording.month(name))
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
