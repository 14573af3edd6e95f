"""How the probe does, as an operator is shown it; null is what nobody knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProbePair:
    """Two sectors, the owner's first: when their probes came round, how fast, and since when they fail."""

    owner: str
    receiver: str
    succeeded_at: datetime | None
    seconds: float | None
    failing_since: datetime | None
    failures: int
    """So many rounds failed, one after the other."""


@dataclass(frozen=True, slots=True)
class FailedRounds:
    """How many rounds of the last day failed by one code."""

    code: str
    count: int


@dataclass(frozen=True, slots=True)
class ProbeStanding:
    """All pairs at one look."""

    as_of: datetime
    pairs: Sequence[ProbePair]
    failed: Sequence[FailedRounds]
    facts_seen_at: datetime | None = None
    """When `referrals.facts` last carried one of their referrals, as notifications tells."""
