"""Tables as CSV: what goes out comes in the same, and no cell runs in a spreadsheet."""

import pytest

from services.runtime.tables_csv import CsvUnreadable, csv_rows, csv_text

CELLS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "'=1", "''-2", "'plain", "a,b", 'say "so"', ""]


def test_formulas_are_guarded_on_the_way_out_and_bare_again_on_the_way_in() -> None:
    text = csv_text(["a", "b"], [[cell, index] for index, cell in enumerate(CELLS)])

    guarded = [line for line in csv_text(["a"], [[cell] for cell in CELLS[:7]]).split("\r\n")[1:] if line]
    assert all(line.lstrip('"').startswith("'") for line in guarded)
    assert [cells for _, cells in csv_rows(["a", "b"], "\ufeff" + text)] == [
        [cell, str(index)] for index, cell in enumerate(CELLS)
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("", 1), ("b\r\n1", 1), ('a\r\n"1"2\r\n', 2), ('a\r\n1\r\n"2', 3)]
)
def test_what_is_no_table_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(CsvUnreadable) as refused:
        list(csv_rows(["a"], text))

    assert refused.value.line == line


def test_a_row_over_several_lines_is_named_by_its_first() -> None:
    assert [line for line, _ in csv_rows(["a"], 'a\r\n"1\r\n1"\r\n2')] == [2, 4]
