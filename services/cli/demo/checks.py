"""The table of checks: a name, the function that says what does not hold, and what it stands on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from services.cli.demo import checks_facts as facts
from services.cli.demo import checks_privacy as privacy
from services.cli.demo.evidence import Evidence

Check = Callable[[Evidence], list[str]]

CHECKS: Final[tuple[tuple[str, Check, tuple[str, ...]], ...]] = (
    ("facts numbered without gap", facts.facts_numbered, ("addressed", "received")),
    ("last states agree", facts.states_agree, ("played", "states", "views")),
    ("no effect twice", facts.nothing_twice, ("addressed", "counted")),
    ("every step answered", facts.every_step_answered, ("asked", "addressed")),
    ("stories ended as told", facts.stories_ended, ("played", "received")),
    ("both orders of acceptance and withdrawal", facts.both_orders, ("races", "addressed")),
    ("killed in the middle of work", facts.killed_at_work, ("kills",)),
    ("no dead letters", facts.nothing_dead, ("dead_letters", "refused_reports")),
    ("listed organisations get nothing", facts.listed_only, ("listed",)),
    ("every look is in the trail", privacy.views_in_trail, ("reads", "entries")),
    ("the exported trail verifies", privacy.trail_verifies, ("entries",)),
    ("mails say nothing", privacy.mails_say_nothing, ("mails", "names")),
    ("every awaited desk is told", privacy.mails_once, ("mails", "desks", "counted")),
    ("planted names stay at home", privacy.names_stay_home, ("traces", "searched")),
    ("the search finds its control", privacy.search_finds, ("traces", "searched")),
    ("every process has its own identity", privacy.own_identities, ("identities",)),
)
"""Each check with the parts of the evidence that it stands on: a part that is empty proves nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check and what it found wrong."""

    name: str
    promise: str
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def run_checks(evidence: Evidence) -> tuple[Result, ...]:
    """Every check over the same evidence."""
    return tuple(
        Result(name, (check.__doc__ or "").strip(), (*_lacking(evidence, parts), *check(evidence)))
        for name, check, parts in CHECKS
    )


def _lacking(evidence: Evidence, parts: Iterable[str]) -> list[str]:
    return [f"there is no evidence: {part} is empty" for part in parts if not getattr(evidence, part)]
