"""How the probe does, as an operator is shown it; null is what nobody knows."""

from collections.abc import Sequence

from pydantic.dataclasses import dataclass

from services.operations.domain.shown import QUIET, Moment, Word


@dataclass(frozen=True, slots=True, config=QUIET)
class ProbePair:
    """Two sectors, the owner's first: when their probes came round, how fast, and since when they fail."""

    owner: Word
    receiver: Word
    succeeded_at: Moment | None = None
    seconds: float | None = None
    failing_since: Moment | None = None
    failures: int = 0
    """So many rounds failed, one after the other."""


@dataclass(frozen=True, slots=True, config=QUIET)
class FailedRounds:
    """How many rounds of the last day failed by one code."""

    code: Word
    count: int


@dataclass(frozen=True, slots=True, config=QUIET)
class ProbeStanding:
    """All pairs at one look."""

    as_of: Moment
    pairs: Sequence[ProbePair]
    failed: Sequence[FailedRounds]
    facts_seen_at: Moment | None = None
    """When `referrals.facts` last carried one of their referrals, as notifications tells."""
