"""What a run leaves behind, as plain values: the checks look at this and at nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.cli.agency_client import GrantedLook, NumberedFact, SentStep

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


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen, from outside the services."""

    played: tuple[PlayedReferral, ...]
    failures: tuple[str, ...]
    """Stories that could not be told to their end."""
    sent: tuple[SentStep, ...]
    addressed: tuple[NumberedFact, ...]
    """What the arbiter addressed to either party."""
    received: tuple[NumberedFact, ...]
    counted: tuple[Mapping[str, Any], ...]
    """What it sent out for statistics and notices."""
    states: Mapping[str, str]
    """The arbiter's last word on each referral."""
    views: Mapping[PartyKey, str]
    """Where each referral stands in the eyes of each of its parties."""
    looks: tuple[GrantedLook, ...]
    entries: tuple[Mapping[str, Any], ...]
    """The details of the exported trail, opened."""
    verdict: Mapping[str, Any]
    """What the offline verifier said of it, and its exit code."""
    mails: tuple[SinkMail, ...]
    desks: Mapping[str, str]
    """Agency → the mail address of its desk."""
    names: tuple[str, ...]
    """What the agencies planted, and no mail may hold."""
    traces: tuple[NameTrace, ...]
    searched_bytes: Mapping[str, int]
    """How much was looked through, by kind of place."""
    kills: tuple[Kill, ...]
    gaps_ms: Mapping[str, float]
    """How far apart acceptance and withdrawal of a referral left, where both were sent at once."""
    outsiders: Mapping[str, str | None]
    """What became of an offer to an organisation that is listed only."""
    dead_letters: Mapping[str, int]
    refused_reports: Mapping[str, int]
