"""The tree of areas by p-code, read from one file: countries, and below each its levels of administration."""

import csv
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from services.runtime.errors import define_refusal

COLUMNS: Final = ("Location", "Admin Level", "P-Code", "Name", "Parent P-Code", "Valid from date")
"""The columns of the p-codes that HDX publishes."""
ROWS_MAX: Final = 50_000
CHARACTERS_MAX: Final = 4 * 1024 * 1024
COUNTRY: Final = 0
"""The level of a country, which is its own location and lies in nothing."""

UnknownArea: Final = define_refusal(
    __name__, "unknown_area", "Name an area of this installation: GET /v1/areas lists them.", 422
)

AreaCode = Annotated[str, Field(pattern="^[A-Z0-9]{2,20}$")]


class AreaEntry(BaseModel):
    """One area: a country, or a part of the area that is its parent."""

    model_config = ConfigDict(frozen=True)

    code: AreaCode
    parent: AreaCode | None
    level: Annotated[int, Field(ge=COUNTRY, le=9)]
    name: Annotated[str, Field(max_length=200)]


class AreasUnreadable(Exception):
    """The file of areas is no tree; says the line and what to do, never what stands there."""


class Areas:
    """Every area, and which lies in which."""

    def __init__(self, entries: Mapping[str, AreaEntry]) -> None:
        self._entries = entries

    def __contains__(self, code: str) -> bool:
        return code in self._entries

    def __iter__(self) -> Iterator[AreaEntry]:
        return iter(self._entries.values())

    def check(self, code: str) -> None:
        """Refuse an area that is none of these."""
        if code not in self._entries:
            raise UnknownArea

    def contains(self, outer: str, inner: str) -> bool:
        """Whether the inner area is the outer one or lies in it; a code that is none contains nothing."""
        entry = self._entries.get(inner)
        while entry and entry.code != outer:
            entry = self._entries.get(entry.parent or "")
        return entry is not None


def read_areas(text: str) -> Areas:
    """Read a table in CSV, its rows in any order; a country needs no row of its own."""
    if len(text) > CHARACTERS_MAX:
        raise AreasUnreadable(f"keep the file of areas to {CHARACTERS_MAX} characters")
    listed: dict[str, AreaEntry] = {}
    countries: dict[str, AreaEntry] = {}
    for line, country, entry in _rows(text):
        if entry.code in listed:
            raise AreasUnreadable(f"line {line}: list each area once")
        listed[entry.code] = entry
        countries[country.code] = country
    entries = countries | listed
    for entry in listed.values():
        if entry.parent and entry.parent not in entries:
            raise AreasUnreadable("name as its parent an area of the file, or its country")
        # One level below its parent, so that nothing lies in itself, however long the way round.
        if entry.level != (entries[entry.parent].level + 1 if entry.parent else COUNTRY):
            raise AreasUnreadable("let each area lie one level below its parent, and a country in nothing")
    return Areas(entries)


def _rows(text: str) -> Iterator[tuple[int, AreaEntry, AreaEntry]]:
    """Each row's line, its country and its area."""
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        if tuple(next(rows, ())) != COLUMNS:
            raise AreasUnreadable(f"line 1: name just these columns: {', '.join(COLUMNS)}")
        for number, cells in enumerate(rows):
            if number >= ROWS_MAX:
                raise AreasUnreadable(f"keep the file of areas to {ROWS_MAX} rows")
            location, level, code, name, parent, _ = cells
            country = AreaEntry(code=location, parent=None, level=COUNTRY, name=location)
            fields = {"code": code, "parent": parent or None, "level": level, "name": name}
            yield rows.line_num, country, AreaEntry.model_validate(fields)
    except (csv.Error, ValueError):
        reason = (
            f"line {rows.line_num}: write six cells, p-codes in capitals and digits and the level as 0 to 9"
        )
        raise AreasUnreadable(reason) from None
