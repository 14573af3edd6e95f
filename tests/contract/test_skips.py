"""A run that skipped something unlisted, or found nothing, is red in CI though each test it ran was green."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import Allowed, allowed_in

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.support.skips import Skips, allowed_in

def pytest_configure(config):
    allowed = allowed_in({allowed!r})
    config.pluginmanager.register(Skips(allowed, strict={strict}))
"""
TESTS = """
import pytest

def test_green():
    pass

@pytest.mark.parametrize("case", ["a", "b"])
def test_skipped(case):
    pytest.skip("2 cases skipped: there is no sea")
"""
ALL_SKIPPED = "import pytest\npytest.skip('nothing here', allow_module_level=True)\ndef test_never(): pass\n"


def a_run(folder: Path, tests: str, *, strict: bool, allowed: str = "") -> tuple[int, str]:
    (folder / "conftest.py").write_text(CONFTEST.format(allowed=allowed, strict=strict))
    (folder / "test_made_up.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder],
        cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.returncode, done.stdout


def test_in_ci_an_unlisted_skip_fails_the_run_and_is_named(tmp_path: Path) -> None:
    code, said = a_run(tmp_path, TESTS, strict=True)

    assert code == 1
    assert "not on the list in allowed_skips.txt: test_made_up.py::test_skipped[a]" in said


def test_in_ci_a_listed_skip_passes(tmp_path: Path) -> None:
    code, _ = a_run(tmp_path, TESTS, strict=True, allowed="test_made_up.py::test_skipped[*] no sea here")

    assert code == 0


def test_elsewhere_skips_are_counted(tmp_path: Path) -> None:
    code, said = a_run(tmp_path, TESTS, strict=False)

    assert code == 0
    assert "skipped 2: 2 cases skipped: there is no sea" in said


def test_a_file_that_is_skipped_whole_counts_too(tmp_path: Path) -> None:
    code, _ = a_run(tmp_path, ALL_SKIPPED, strict=True)

    assert code == 1


def test_a_run_that_finds_no_test_fails(tmp_path: Path) -> None:
    code, said = a_run(tmp_path, "", strict=False)

    assert code == 1
    assert "No test was found" in said


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
    assert Allowed(pattern, "why").covers(test) == covered


def test_a_line_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tests/a\.py"):
        allowed_in("tests/a.py")
