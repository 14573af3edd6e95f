"""The integrator's page runs: every command in order, and what is printed is what the page says."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from deploy.local.installation import Installation
from deploy.local.places import temporary_directory
from services.cli.demo.trial import running_trial
from tests.support.servers import unflushed
from tests.support.shared import REPOSITORY

PAGE: Final = REPOSITORY / "docs" / "from-admission-to-close.md"
NEEDED: Final = ("bash", "curl", "openssl", "python3")
WITHIN_SECONDS: Final = 270
MARK: Final = "\x1e"
SHIM: Final = """#!/bin/sh
case $1 in up | down) exit 0 ;; esac  # the installation stands already
exec {python} -m services.cli "$@"
"""
pytestmark = pytest.mark.timeout(300)  # an installation starts first


def pieces_of(page: str) -> Sequence[tuple[str, Sequence[str]]]:
    """The page's commands, parted where it says what they print, and those lines."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    found = re.findall(r"((?:^(?!#> ).*\n)+)((?:^#> .*\n?)*)", blocks, re.MULTILINE)
    return [(commands, [line.removeprefix("#> ") for line in said.splitlines()]) for commands, said in found]


def is_as_told(printed: str, told: Sequence[str]) -> bool:
    """Whether lines are those of the page, in which an ellipsis stands for anything."""
    pattern = "\n".join(re.escape(line).replace("…", ".+") for line in told)
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    return re.fullmatch(pattern, lines) is not None


@pytest.fixture
async def installation() -> AsyncIterator[Installation]:
    """One in which nobody has founded yet: that is done once, and the session's has its partners."""
    with temporary_directory("concert-page-") as folder, unflushed():
        async with running_trial(folder / "installation", lambda _: None) as trial:
            yield trial.installation


@pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason="the page needs bash, curl, openssl and python3"
)
async def test_every_command_of_the_page_prints_what_the_page_says(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "concert").write_text(SHIM.format(python=sys.executable))
    (tmp_path / "concert").chmod(0o755)
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    pieces = pieces_of(PAGE.read_text("utf-8"))
    script = "".join(f"{commands}printf '{MARK}'\n" for commands, _ in pieces)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "CONCERT_DATA": str(installation.configuration.data),
    }
    command = ["timeout", str(WITHIN_SECONDS), "bash"]

    done = await asyncio.to_thread(
        subprocess.run, command, input=script, cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    printed = done.stdout.split(MARK)[:-1]
    wrong = [
        (commands, text, told)
        for (commands, told), text in zip(pieces, printed, strict=False)
        if not is_as_told(text, told)
    ]
    assert wrong[:1] == [], done.stderr
    assert len(printed) == len(pieces) > 20, done.stderr
