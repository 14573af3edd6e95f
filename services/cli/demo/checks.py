"""The table of checks: a name, what must hold, and the function that says what does not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.cli.demo import checks_facts as facts
from services.cli.demo import checks_privacy as privacy
from services.cli.demo.evidence import Evidence

Check = Callable[[Evidence], list[str]]

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("facts numbered without gap", facts.facts_numbered),
    ("last states agree", facts.states_agree),
    ("no effect twice", facts.nothing_twice),
    ("every step answered", facts.every_step_answered),
    ("stories ended as told", facts.stories_ended),
    ("both orders of acceptance and withdrawal", facts.both_orders),
    ("killed in the middle of work", facts.killed_at_work),
    ("no dead letters", facts.nothing_dead),
    ("listed organisations get nothing", facts.listed_only),
    ("every look is in the trail", privacy.views_in_trail),
    ("the exported trail verifies", privacy.trail_verifies),
    ("mails say nothing", privacy.mails_say_nothing),
    ("one mail for each awaited fact", privacy.mails_once),
    ("planted names stay at home", privacy.names_stay_home),
    ("the search finds its control", privacy.search_finds),
    ("every process has its own identity", privacy.own_identities),
)


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
        Result(name, (check.__doc__ or "").strip(), tuple(check(evidence))) for name, check in CHECKS
    )
