"""The checks of a run: each says what does not hold; its parameters name the evidence that it stands on."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.cli.demo import checks_facts as facts
from services.cli.demo import checks_privacy as privacy
from services.cli.demo.evidence import Evidence

CHECKS: Final[tuple[tuple[str, Callable[..., list[str]]], ...]] = (
    ("facts numbered without gap", facts.facts_numbered),
    ("last states agree", facts.states_agree),
    ("no effect twice", facts.nothing_twice),
    ("every step answered", facts.every_step_answered),
    ("stories ended as told", facts.stories_ended),
    ("both orders of acceptance and withdrawal", facts.both_orders),
    ("killed in the middle of work", facts.killed_at_work),
    ("no dead letters", facts.nothing_dead),
    ("listed organisations get nothing", facts.listed_only),
    ("every look is in the trail", privacy.looks_in_trail),
    ("the exported trail verifies", privacy.trail_verifies),
    ("mails say nothing", privacy.mails_say_nothing),
    ("every awaited desk is told", privacy.mails_once),
    ("planted names stay at home", privacy.names_stay_home),
    ("the search finds its control", privacy.search_finds),
)
EMPTY_WHEN_GOOD: Final = frozenset({"failures"})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check and what it found wrong."""

    name: str
    promise: str
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def run_checks(evidence: Evidence) -> tuple[CheckResult, ...]:
    """Every check over the same evidence; a part of it that is empty proves nothing."""
    return tuple(_result(name, check, evidence) for name, check in CHECKS)


def parts_of(check: Callable[..., list[str]]) -> tuple[str, ...]:
    """The parts of the evidence that a check stands on."""
    return tuple(inspect.signature(check).parameters)


def _result(name: str, check: Callable[..., list[str]], evidence: Evidence) -> CheckResult:
    parts = {part: getattr(evidence, part) for part in parts_of(check)}
    lacking = [part for part, found in parts.items() if not found and part not in EMPTY_WHEN_GOOD]
    problems = (*(f"there is no evidence: {part} is empty" for part in lacking), *check(**parts))
    return CheckResult(name, inspect.getdoc(check) or "", problems)
