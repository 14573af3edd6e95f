"""Fixtures for all tests, the platform once a run; and the rule that a skipped test has proved nothing."""

import os
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.platform import Space, TestPlatform, started_platform

ALLOWED_SKIPS: Final = Path(__file__).with_name("allowed_skips.txt")
skipped: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Remember a skipped test, or a file that was skipped whole."""
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.add(report.nodeid)


pytest_collectreport = pytest_runtest_logreport


def unlisted(tests: Collection[str], allowed: str) -> list[str]:
    """Those that no line of the list names, `*` standing for anything."""
    lines = [line.split()[0] for line in allowed.splitlines() if line[:1] not in ("", "#")]
    lines = [line.replace("[", "[[]") for line in lines]
    return sorted(test for test in tests if not any(fnmatchcase(test, line) for line in lines))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Where CI is set, an unlisted skip is named and fails the run."""
    if os.environ.get("CI") and (named := unlisted(skipped, ALLOWED_SKIPS.read_text("utf-8"))):
        terminalreporter.write_line(f"Skipped, and not in {ALLOWED_SKIPS.name}: {', '.join(named)}", red=True)
        raise pytest.exit.Exception("a skipped test has proved nothing", pytest.ExitCode.TESTS_FAILED)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def platform() -> Iterator[TestPlatform]:
    """The real broker and the real database server of this run."""
    with started_platform() as platform:
        yield platform


@pytest.fixture(scope="module")
def space(platform: TestPlatform) -> Iterator[Space]:
    """A module's own topics, groups and databases."""
    space = Space(platform)
    yield space
    space.close()
