"""What a run leaves behind, as plain values: the checks look at this and at nothing else."""

from dataclasses import dataclass
from typing import Any

Evidence = dict[str, Any]
"""Everything that was seen, from outside the services, by the names of the checks' parameters."""
PartyKey = tuple[str, str]
"""A referral and one of its agencies."""


@dataclass(frozen=True, slots=True)
class PlayedReferral:
    """One referral of the run, and how its story ends."""

    referral: str
    story: str
    owner: str
    receiver: str
    ends: str


@dataclass(frozen=True, slots=True)
class SinkMail:
    """A mail in the sink: what anybody on its way could read, and how long it was."""

    to: str
    name: str
    """Its Message-ID."""
    text: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NameTrace:
    """A planted string where it was found, and in which form."""

    place: str
    """segments, logs or databases."""
    where: str
    """The file, or the service whose database it is."""
    form: str
    sector: str
    """The sector whose agency planted it; `control` for the string that must be found."""

    @property
    def is_at_home(self) -> bool:
        """Whether it lies in the database of that sector."""
        return (self.place, self.where) == ("databases", self.sector)


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed with SIGKILL in the middle of its work."""

    part: str
    pid: int
    unanswered: int
    back_after_seconds: float
