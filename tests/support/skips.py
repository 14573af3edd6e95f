"""A skipped test has proved nothing: in CI every skip is on a committed list, elsewhere skips are counted."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

LIST: Final = Path(__file__).resolve().parent.parent / "allowed_skips.txt"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One line of the list: tests that may be skipped, `*` standing for anything, and why."""

    pattern: str
    reason: str

    def covers(self, test: str) -> bool:
        """Whether this line speaks of that test."""
        return bool(re.fullmatch(re.escape(self.pattern).replace(r"\*", ".*"), test))


def allowed_in(text: str) -> Sequence[Allowed]:
    """Read the list; a line without a reason is refused."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    listed = [
        Allowed(pattern, reason.strip()) for pattern, _, reason in (line.partition(" ") for line in lines)
    ]
    bare = [one.pattern for one in listed if not one.reason]
    if bare:
        raise ValueError(f"give a reason for {bare[0]}")
    return listed


class Skips:
    """Counts what a run skipped; with `strict` an unlisted skip fails the run. So does finding no test."""

    def __init__(self, allowed: Sequence[Allowed], *, strict: bool) -> None:
        self._allowed = allowed
        self._strict = strict
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a skipped test."""
        self._remember(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a file that was skipped whole."""
        self._remember(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that was green but proved too little."""
        if session.testscollected == 0 or (self._strict and self._unlisted):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was skipped and why."""
        if terminalreporter._session.testscollected == 0:
            terminalreporter.write_line("No test was found: that is a failure.", red=True)
        for reason, count in Counter(self._skipped.values()).most_common():
            terminalreporter.write_line(f"skipped {count}: {reason}", yellow=True)
        if self._strict:
            for test in self._unlisted:
                line = f"SKIPPED and not on the list in {LIST.name}: {test}"
                terminalreporter.write_line(line, red=True)

    @property
    def _unlisted(self) -> list[str]:
        return [test for test in self._skipped if not any(one.covers(test) for one in self._allowed)]

    def _remember(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._skipped[report.nodeid] = reason.removeprefix("Skipped: ")
