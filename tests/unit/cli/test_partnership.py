"""The report is one page that needs no network, and a file for each of its tables."""

import re
from pathlib import Path
from urllib.parse import unquote

import httpx2
import pytest
import typer

from services.cli.partnership import read_report, write_report
from services.governance.pages.tables import TABLES
from tests.support.pages import PageStage
from tests.support.stage import a_busy_stage


async def test_the_page_and_its_tables_stand_beside_each_other_and_lead_nowhere_else() -> None:
    out = Path("our page.html")
    transport = httpx2.ASGITransport(PageStage(a_busy_stage()).app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://governance") as client:
        files = await read_report(client, out, "sw")

    assert [*files] == [out, *(Path(f"our page-{one.id}.csv") for one in TABLES)]
    links = re.findall(r'(?:href|src)="([^"]*)"', files[out])
    outside = {one for one in links if Path(unquote(one)) not in files and not one.startswith("#")}
    assert outside == {"data:,"}
    told = [word in files[out] for word in ('lang="sw"', "prefers-color-scheme", "<script")]
    assert told == [True, True, False]
    assert files[Path("our page-committees.csv")].startswith("committee,type,level")


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        write_report({tmp_path / "no such folder" / "page.html": "<p>"})

    assert "page.html cannot be written: No such file or directory" in capsys.readouterr().err
