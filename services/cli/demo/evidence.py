"""What a run leaves behind, as plain values: the checks look at this and at nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Played:
    """One referral of the run, and how its story ends."""

    referral: str
    story: str
    owner: str
    receiver: str
    ends: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A step that was answered 202; `fact` is what the arbiter calls it once it has happened."""

    id: str
    referral: str
    agency: str
    fact: str


@dataclass(frozen=True, slots=True)
class Told:
    """One numbered fact to one agency."""

    referral: str
    agency: str
    number: int
    type: str
    state: str | None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A fact as the arbiter addressed it, with the step that caused it."""

    told: Told
    caused_by: str | None
    refused: str | None = None
    """The refused step, where the fact says so."""
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """A fact as it went out for statistics and notices."""

    id: str
    referral: str
    type: str
    caused_by: str | None
    awaits: str | None
    desk: str | None


@dataclass(frozen=True, slots=True)
class View:
    """Where a referral stands in the eyes of one of its parties."""

    referral: str
    agency: str
    state: str | None
    number: int


@dataclass(frozen=True, slots=True)
class Read:
    """One look that an agency's person was granted; a case has no referral."""

    act: str
    agency: str
    staff: str
    purpose: str
    referral: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the offline verifier said of the exported trail."""

    exit_code: int
    entries: int
    details: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in the sink: what anybody on its way could read, and how long it was."""

    to: str
    name: str
    """Its Message-ID."""
    text: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A planted string where it was found, and in which form."""

    kind: str
    """segments, logs, or a database's service."""
    place: str
    form: str
    sector: str
    """The sector whose agency planted it."""


@dataclass(frozen=True, slots=True)
class Searched:
    """How much of a kind of place was looked through, and in which forms the control string turned up."""

    place: str
    size_bytes: int
    control_found: frozenset[str]


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, and as whom database and brokers say that they know it."""

    name: str
    pid: int
    roles: tuple[str, ...]
    users: tuple[str, ...]
    wants_role: str | None
    wants_user: str | None


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed with SIGKILL in the middle of its work."""

    part: str
    pid: int
    unanswered: int
    back_after_seconds: float


@dataclass(frozen=True, slots=True)
class Race:
    """Acceptance and withdrawal of one referral, sent at once."""

    referral: str
    gap_ms: float


@dataclass(frozen=True, slots=True)
class Listed:
    """An offer to an organisation that is listed only, and the arbiter's answer."""

    organization: str
    title: str
    code: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen, from outside the services."""

    played: tuple[Played, ...]
    failures: tuple[str, ...]
    """Stories that could not be told to their end."""
    asked: tuple[Asked, ...]
    addressed: tuple[Addressed, ...]
    received: tuple[Told, ...]
    counted: tuple[Counted, ...]
    states: Mapping[str, str]
    """The arbiter's last word on each referral."""
    views: tuple[View, ...]
    reads: tuple[Read, ...]
    entries: tuple[Mapping[str, Any], ...]
    """The details of the exported trail, opened."""
    verdict: Verdict
    mails: tuple[Mail, ...]
    desks: Mapping[tuple[str, str], str]
    """Agency and desk → its mail address."""
    names: tuple[str, ...]
    """What the agencies planted, and whatever else no mail may hold."""
    traces: tuple[Trace, ...]
    searched: tuple[Searched, ...]
    identities: tuple[Identity, ...]
    kills: tuple[Kill, ...]
    races: tuple[Race, ...]
    listed: tuple[Listed, ...]
    dead_letters: Mapping[str, int]
    refused_reports: Mapping[str, int]
