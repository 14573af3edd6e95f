"""What stands around every page of a console: where one is, who is signed in, how old the figures are."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from fastapi import Request, Response

from services.runtime.pages.answers import CONSOLE_HEADERS
from services.runtime.pages.languages import language_of
from services.runtime.pages.rendering import Pages
from services.runtime.pages.tables import Cell, Moment, Seconds

RENEWED_EVERY_SECONDS: Final = 5
"""Half of the time between two samples, so that what turned red is seen within twenty seconds."""
STALE_AFTER_SECONDS: Final = 30
"""After three samples that did not come, figures are no longer shown as if they were the present."""
PAUSED: Final = "paused"


class FormTokens(Protocol):
    """What gives each form of a page its own token."""

    def form_token(self) -> str:
        """A new one."""


@dataclass(frozen=True, slots=True)
class ConsoleFrame:
    """The head and foot of a page; its whole state is in its URL, so that a link shows the same."""

    pages: Mapping[str, str]
    """Path → title."""
    at: str
    """The path of the page in `pages` to which this one belongs."""
    path: str
    state: Mapping[str, str]
    """What was chosen on the page, by the names of its URL."""
    person: str
    """Who is signed in, as the issuer calls them."""
    forms: FormTokens
    sign_out: str
    is_paused: bool = False

    @property
    def url(self) -> str:
        """This page as it stands."""
        return self.url_of(is_paused=self.is_paused)

    def url_of(self, *, is_paused: bool) -> str:
        """This page, that goes on by itself or does not."""
        query = urlencode({**self.state, **({PAUSED: "yes"} if is_paused else {})})
        return f"{self.path}?{query}" if query else self.path


@dataclass(frozen=True, slots=True)
class Freshness:
    """When figures were taken, and whether that is too long ago to be the present."""

    taken_at: datetime | None
    now: datetime
    renewed_every_seconds: int = RENEWED_EVERY_SECONDS
    stale_after_seconds: int = STALE_AFTER_SECONDS

    @property
    def as_of(self) -> Cell:
        """When they were taken, for people."""
        return Moment(self.taken_at, is_exact=True) if self.taken_at else None

    @property
    def age(self) -> Seconds:
        """How long ago that is."""
        return Seconds((self.now - (self.taken_at or self.now)).total_seconds())

    @property
    def is_stale(self) -> bool:
        """Whether newer ones are missing."""
        return self.age.count > self.stale_after_seconds


def console_page(
    pages: Pages, template: str, request: Request, values: Mapping[str, Any], *, status: int = 200
) -> Response:
    """A page, in the language of the browser; nobody else may keep it."""
    language = language_of(None, request.headers.get("accept-language", ""))
    body = pages.render(template, language, values)
    headers = {**CONSOLE_HEADERS, "content-language": language, "vary": "accept-language, cookie"}
    return Response(body, status, headers, "text/html")


def frame_of(
    request: Request, titles: Mapping[str, str], person: str, forms: FormTokens, sign_out: str
) -> ConsoleFrame:
    """The frame of the page that was asked for; `titles` are those of the navigation, by path."""
    chosen = dict(request.query_params)
    path = request.url.path
    at = next((one for one in titles if path.startswith(one)), "")
    state = {name: value for name, value in chosen.items() if value and name != PAUSED}
    return ConsoleFrame(titles, at, path, state, person, forms, sign_out, PAUSED in chosen)
