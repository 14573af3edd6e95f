"""`concert test`: runs beside each other, of which nobody's failure is lost."""

import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import development
from services.cli.__main__ import application
from tests.support.shared import REPOSITORY

PROGRAM = "import sys; print('ran', *sys.argv[1:], flush=True); sys.exit({code} * ('{red}' in sys.argv))"


@pytest.mark.parametrize(
    ("red", "code", "exit_code"),
    [
        ("", 0, 0),
        ("tests/integration", 1, 1),
        ("tests/e2e", 1, 1),
        ("tests/e2e/test_scale.py", 1, 1),
        ("tests/unit", 2, 130),
    ],
)
def test_every_kind_is_run_and_shown_and_one_red_run_is_enough(
    red: str,
    code: int,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = PROGRAM.format(code=code, red=red)
    monkeypatch.setattr(development, "_module", lambda _, *words: (sys.executable, "-c", program, *words))
    monkeypatch.setattr(development, "class_path", lambda *_: None)

    told = CliRunner().invoke(application(["test"]), ["test"])

    shown = capfd.readouterr().out + told.stdout
    assert {f"tests/{kind}" for kind in development.KINDS} <= set(shown.split())
    assert (told.exit_code, told.stderr.count("✗")) == (exit_code, int(code > 0))


def test_every_file_is_in_one_run_and_in_no_other() -> None:
    tests = REPOSITORY / "tests"
    runs = [development._beside(run)[3:] for run in development.BESIDE_EACH_OTHER]

    def takes(words: Sequence[str], file: Path) -> bool:
        ignored = [word.removeprefix("--ignore-glob=") for word in words if word.startswith("--")]
        return any(file.is_relative_to(REPOSITORY / word) for word in words) and not any(
            fnmatch(str(file), str(REPOSITORY / one)) for one in ignored
        )

    files = [file for kind in development.KINDS for file in (tests / kind).rglob("test_*.py")]
    assert {file.name: sum(takes(words, file) for words in runs) for file in files} == {
        file.name: 1 for file in files
    }
