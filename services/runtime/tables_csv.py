"""Tables as CSV, out and in: UTF-8, one header row, and no cell that a spreadsheet would run."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Final

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n]")
"""What a spreadsheet takes for a formula, or looks guarded already: it gets one apostrophe more."""
_GUARDED: Final = re.compile(r"'+[=+\-@\t\r\n]")


class CsvUnreadable(Exception):
    """Text that is no table with these columns; `line` is where."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV; None is an empty cell."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_guarded(cell) for cell in row] for row in rows)
    return text.getvalue()


def csv_rows(header: Sequence[str], text: str) -> Iterator[tuple[int, list[str]]]:
    """Where each row begins, and its cells without guards; raises CsvUnreadable."""
    rows = csv.reader(StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        if next(rows, None) != [*header]:
            raise CsvUnreadable(1)
        line = rows.line_num + 1
        for cells in rows:
            yield line, [cell[1:] if _GUARDED.match(cell) else cell for cell in cells]
            line = rows.line_num + 1
    except csv.Error:
        raise CsvUnreadable(rows.line_num) from None


def _guarded(cell: object) -> str:
    written = "" if cell is None else str(cell)
    return f"'{written}" if _FORMULA.match(written) else written
