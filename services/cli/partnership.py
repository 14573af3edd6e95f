"""`concert partnership report`: the page that anybody may read, as a file with its tables beside it."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import httpx2
import typer

from services.cli.installed import DataDirectory, installed
from services.cli.talk import TEMPORARY, check_choices, command, fail, say
from services.runtime.pages.languages import ENGLISH, LANGUAGES

app = typer.Typer(no_args_is_help=True)

PAGE: Final = "/partnership"
_STYLE: Final = re.compile(r'<link rel="stylesheet" href="([^"]+)">')
_TABLE: Final = re.compile(r'href="(/partnership/([a-z-]+)\.csv)"')
_LANGUAGES: Final = re.compile(r'<nav class="languages".*?</nav>\n', re.DOTALL)
ANSWER_WITHIN_SECONDS: Final = 30.0


@app.command("report")
def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="Where the page goes.")],
    lang: Annotated[str, typer.Option(help=f"One of: {', '.join(LANGUAGES)}.")] = ENGLISH,
    data: DataDirectory = None,
) -> None:
    """Example: `concert partnership report --out partnership.html --lang fr`.

    Writes whether the partnership keeps its word as one page, with a CSV of each table beside it.
    """
    check_choices([lang], LANGUAGES, "--lang")
    address = installed(data).api_url("governance")
    try:
        files = asyncio.run(_read(address, out, lang))
    except (httpx2.TransportError, httpx2.HTTPStatusError):
        fail(f"governance does not show the page; see {command('status', data)}", TEMPORARY)
    write_report(files)
    say("Anybody may read these; open the page in any browser, it needs no network.")


def write_report(files: Mapping[Path, str]) -> None:
    """Write each file and print its path; where one cannot be written, that ends the command."""
    for file, text in files.items():
        try:
            file.write_text(text, "utf-8", newline="")
        except OSError as error:
            fail(f"{file} cannot be written: {error.strerror}")
        print(file)


async def read_report(client: httpx2.AsyncClient, out: Path, language: str) -> dict[Path, str]:
    """The page and its tables by file; raises HTTPStatusError and TransportError."""
    page = await _text(client, f"{PAGE}?lang={language}")
    tables: dict[Path, str] = {}
    for path, name in _TABLE.findall(page):
        file = out.with_name(f"{out.stem}-{name}.csv")
        tables[file] = await _text(client, path)
        page = page.replace(f'href="{path}"', f'href="{quote(file.name)}"')
    [style] = _STYLE.findall(page)
    sheet = f"<style>\n{await _text(client, style)}</style>"
    page = _STYLE.sub(lambda _: sheet, _LANGUAGES.sub("", page))  # a file has no other language to lead to
    return {out: page, **tables}


async def _read(address: str, out: Path, language: str) -> dict[Path, str]:
    timeout = ANSWER_WITHIN_SECONDS
    async with httpx2.AsyncClient(base_url=address, timeout=timeout, trust_env=False) as client:
        return await read_report(client, out, language)


async def _text(client: httpx2.AsyncClient, path: str) -> str:
    return (await client.get(path)).raise_for_status().text
