"""Pages escape what they are given, speak the language asked for, and let a browser load nothing else."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from services.runtime.pages.answers import CONSOLE_HEADERS, HEADERS, PIECE_BYTES, POLICY, PageBytes
from services.runtime.pages.languages import Language, Wording, language_of
from services.runtime.pages.rendering import Pages
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


@pytest.mark.parametrize(("asked", "accepted", "language"), [
    ("sw", "fr", "sw"),
    (None, "ar-EG, en;q=0.5", "ar"),
    (None, "de, es;q=0.2, fr;q=0.9", "fr"),
    (None, "en;q=0, es;q=0.1", "es"),
    (None, "FR", "fr"),
    (None, "", "en"),
    (None, "*", "en"),
    (None, "fr;q=nan, es;q=1e-9, ;;;q=, ar;q=-1", "en"),
    (None, "x," * 10_000 + "fr", "en"),
])  # fmt: skip
def test_a_language_is_one_of_the_closed_list(asked: Language | None, accepted: str, language: str) -> None:
    assert language_of(asked, accepted) == language


def test_numbers_days_and_months_are_written_as_each_language_writes_them() -> None:
    noon = datetime(2027, 2, 3, 12, tzinfo=UTC)
    wordings = [Wording(one, []) for one in ("en", "fr", "ar")]

    assert [one.number(12_345) for one in wordings] == ["12,345", "12\u202f345", "12,345"]
    assert [one.day(noon) for one in wordings] == ["3 February 2027", "3 février 2027", "3 فبراير 2027"]
    assert [one.month("2027-02") for one in wordings] == ["February 2027", "février 2027", "فبراير 2027"]
    assert [one.instant(noon, is_exact=True) for one in wordings[:2]] == [
        "3 Feb 2027, 12:00:00 UTC", "3 févr. 2027, 12:00:00 UTC",
    ]  # fmt: skip
    assert [wordings[0].lasting(count) for count in (0, 119, 120, 7_200, 172_800)] == [
        "0 secs", "119 secs", "2 mins", "2 hrs", "2 days",
    ]  # fmt: skip
    assert [one.direction for one in wordings] == ["ltr", "ltr", "rtl"]


def test_nothing_that_is_given_becomes_markup_and_nothing_is_left_undefined(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    for language in ("fr", "es", "ar", "sw"):
        (tmp_path / "words" / f"{language}.po").write_text('msgid ""\nmsgstr ""\n')
    (tmp_path / "one.html").write_text("{{ given }}{% for one in cells %}{{ one|cell }}{% endfor %}")
    pages, evil = Pages(tmp_path), "<script>alert('x')</script>"

    cells: list[Cell] = [evil, Mark(evil, evil), Term(evil, evil), (Term(evil, evil, 2),)]
    shown = pages.render("one.html", "en", {"given": evil, "cells": cells}).decode()

    assert shown.count("&lt;script&gt;") == 6
    assert "<script" not in shown
    with pytest.raises(UndefinedError):
        pages.render("one.html", "en", {"cells": []})


def test_a_cell_for_machines_is_a_code_whatever_the_language() -> None:
    noon = datetime(2027, 2, 3, 12, tzinfo=UTC)
    cells: list[Cell] = [
        Mark(Term("civil_society", "Civil society", 3), "!"), (Term("a", "A"), Term("b", "B", 2)), Share(40),
        Month("2027-02"), datetime(2027, 2, 3, 12, tzinfo=UTC), None, 0, "ZZ01",
        Moment(noon), Moment(noon, is_exact=True),
        Seconds(7), Sentence("It stands."), Link("code", "/there"), Signal("good", Term("ok", "OK")),
        Trend([(noon, 4.0), (noon, None)]),
    ]  # fmt: skip

    assert [plain(one) for one in cells] == [
        "civil_society 3", "a; b 2", 40, "2027-02", "2027-02-03", "", 0, "ZZ01",
        "2027-02-03T12:00Z", "2027-02-03T12:00:00Z", 7, "It stands.", "code", "ok", 4.0,
    ]  # fmt: skip


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing() -> None:
    answer = PageBytes.of(b"<p>", "text/html").answer(None)

    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy.keys() & {"script-src", "connect-src", "font-src"} == set()
    assert set(policy.values()) == {"'none'", "'self'", "'self' data:"}
    assert HEADERS.items() <= dict(answer.headers).items()
    assert CONSOLE_HEADERS["content-security-policy"] == f"{POLICY}; script-src 'self'; connect-src 'self'"


@pytest.mark.parametrize("length", [0, 1, PIECE_BYTES, 3 * PIECE_BYTES + 1])
async def test_a_slow_reader_is_sent_one_piece_at_a_time(length: int) -> None:
    body, sent = b"x" * length, list[Any]()
    receive: Any = None

    async def send(message: Any) -> None:
        sent.append(message)

    await PageBytes.of(body, "text/csv").answer(None)({"type": "http"}, receive, send)

    pieces = [one["body"] for one in sent[1:]]
    assert (b"".join(pieces), max(map(len, pieces)) <= PIECE_BYTES) == (body, True)
    assert [one["more_body"] for one in sent[1:]] == [True] * (len(pieces) - 1) + [False]
