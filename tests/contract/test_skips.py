"""A run that skipped something unlisted is red in CI though each test that it ran was green."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ALLOWED_SKIPS, unlisted

ROOT = Path(__file__).resolve().parents[2]
ONE_SKIPPED = "import pytest\ndef test_green(): pass\ndef test_skipped(): pytest.skip('there is no sea')\n"
ALL_SKIPPED = "import pytest\npytest.skip('nothing here', allow_module_level=True)\ndef test_never(): pass\n"


def test_in_ci_an_unlisted_skip_fails_the_run_and_is_named_and_elsewhere_not(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(ONE_SKIPPED)
    (tmp_path / "test_all.py").write_text(ALL_SKIPPED)
    folder = str(tmp_path)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--rootdir", folder, folder]

    runs = [
        subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), **ci})
        for ci in ({"CI": "true"}, {})
    ]

    assert [run.returncode for run in runs] == [1, 0]
    assert "not in allowed_skips.txt: test_all.py, test_one.py::test_skipped" in runs[0].stdout


@pytest.mark.parametrize(
    ("pattern", "test", "covered"),
    [
        ("tests/a.py::test_b[*]", "tests/a.py::test_b[c]", True),
        ("tests/a.py::test_b", "tests/a.py::test_b[c]", False),
        ("tests/*", "tests/a.py::test_b", True),
        ("tests/a.py::test_b[c]", "tests/a.py::test_bc", False),
    ],
)
def test_a_line_covers_what_it_names(pattern: str, test: str, *, covered: bool) -> None:
    assert unlisted({test}, f"# tests/*\n{pattern} why\n") == ([] if covered else [test])


def test_every_allowed_skip_has_its_reason() -> None:
    lines = [line for line in ALLOWED_SKIPS.read_text("utf-8").splitlines() if not line.startswith("#")]

    assert all(len(line.split()) > 3 for line in lines)
