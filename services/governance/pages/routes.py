"""`GET /partnership`, which anybody may read: the page in every language, and a CSV beside each table."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response

from services.governance.handlers import Work
from services.governance.pages.report import Report, report
from services.governance.pages.rows import ReportSource
from services.runtime.clock import Clock
from services.runtime.errors import NotFound, Unavailable
from services.runtime.pages.answers import PageBytes, style_routes
from services.runtime.pages.languages import ENGLISH, Language, language_of
from services.runtime.pages.rendering import Pages
from services.runtime.pages.tables import plain
from services.runtime.tables_csv import csv_text

PATH: Final = "/partnership"
ROWS_MAX: Final = 100
"""How many rows of a table the page shows; the CSV has all."""
LOOKED_EVERY: Final = timedelta(seconds=2)
"""However many ask, the database is asked for news no more often than this."""
Held = Annotated[str | None, Header(alias="if-none-match", max_length=400)]


class PartnershipPage:
    """The page and its tables as bytes, made once for each state of things and each language.

    Whoever asks costs a look into memory: the route is open, and a flood must not reach the database.
    """

    def __init__(self, open_work: Callable[[], AbstractAsyncContextManager[Work]], clock: Clock) -> None:
        self._open_work = open_work
        self._clock = clock
        self._pages = Pages(Path(__file__).parent)
        self._one_looks = asyncio.Lock()
        self._looked_at: datetime | None = None
        self._seen: object = None
        self._report: Report | None = None
        self._made: dict[tuple[str, Language], PageBytes] = {}

    async def page(self, language: Language) -> PageBytes:
        """The page in a language; raises Unavailable."""
        async with self._one_looks:
            shown = await self._current()
            if ("", language) not in self._made:
                values = {"report": shown, "rows_max": ROWS_MAX}
                body = self._pages.render("partnership.html", language, values)
                self._made["", language] = PageBytes.of(body, "text/html")
            return self._made["", language]

    async def table(self, name: str) -> PageBytes:
        """A table as CSV, in codes and therefore in no language; raises NotFound and Unavailable."""
        async with self._one_looks:
            one = (await self._current()).tables.get(name)
            if one is None:
                raise NotFound
            if (name, ENGLISH) not in self._made:
                rows = ([plain(cell) for cell in row] for row in one.rows)
                text = await asyncio.to_thread(csv_text, [*one.table.columns], rows)
                self._made[name, ENGLISH] = PageBytes.of(text.encode(), "text/csv")
            return self._made[name, ENGLISH]

    async def _current(self) -> Report:
        """The report of how things stand, or stood two seconds ago."""
        now = self._clock.now()
        if self._looked_at and abs(now - self._looked_at) < LOOKED_EVERY:  # also of a clock set back
            if self._report is None:
                raise Unavailable("the database did not answer a moment ago")
            return self._report
        known, self._report, self._looked_at = self._report, None, now
        async with self._open_work() as work:
            register, figures = await work.acts.register(), await work.statistics.public_figures()
        # Whatever ends by time alone ends by an act of the clock; days count besides.
        seen = (register.seen, now.date(), figures)
        if known is None or seen != self._seen:
            source = ReportSource(register.copy(), now, figures)  # partners act while it is made
            known = await asyncio.to_thread(report, source)
            self._seen = seen
            self._made.clear()
        self._report = known
        return known


def page_routes(page: PartnershipPage) -> APIRouter:
    """The page, its tables and its style sheet: open, without a token."""
    router = style_routes()

    @router.get(PATH, include_in_schema=False)
    async def read_page(
        lang: Annotated[Language | None, Query()] = None,
        accept_language: Annotated[str, Header()] = "",
        held: Held = None,
    ) -> Response:
        language = language_of(lang, accept_language)
        made = await page.page(language)
        return made.answer(held, content_language=language, vary="accept-language")

    @router.get(f"{PATH}/{{table}}.csv", include_in_schema=False)
    async def read_table(table: str, held: Held = None) -> Response:
        made = await page.table(table)
        name = f'attachment; filename="partnership-{table}.csv"'
        return made.answer(held, content_disposition=name)

    return router
