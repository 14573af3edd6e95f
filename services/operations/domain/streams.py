"""What an operator is shown of streams and parts; null is what nobody knows."""

from collections.abc import Sequence
from typing import Literal

from pydantic.dataclasses import dataclass

from services.operations.domain.probes import ProbeStanding
from services.operations.domain.shown import QUIET, Moment, Word
from services.operations.domain.verdicts import Verdict


@dataclass(frozen=True, slots=True, config=QUIET)
class StreamStanding:
    """How one group does on one topic, and how it did for a day: the longest lag of each ten minutes."""

    group: str
    service: str
    topic: str
    verdict: Verdict
    rule: str
    words: str
    since: Moment
    """Since when it is this verdict, as far as operations has looked."""
    lag_seconds: int | None
    lag_messages: int | None
    commit_age_seconds: int | None
    members: int | None
    history: Sequence[tuple[Moment, float | None]]


@dataclass(frozen=True, slots=True, config=QUIET)
class OutboxStanding:
    """What waits in a service to be sent."""

    service: str
    pending: int | None
    oldest_seconds: int | None


@dataclass(frozen=True, slots=True, config=QUIET)
class TopicRate:
    """How many records came to a topic in the last minute."""

    topic: str
    per_minute: int | None


@dataclass(frozen=True, slots=True, config=QUIET)
class StreamsStanding:
    """All groups and outboxes at one look."""

    as_of: Moment | None = None
    """None before the first look has ended."""
    groups: Sequence[StreamStanding] = ()
    outboxes: Sequence[OutboxStanding] = ()
    rates: Sequence[TopicRate] = ()
    probe: ProbeStanding | None = None
    """None where no probe plays, or before the first look at it."""


@dataclass(frozen=True, slots=True, config=QUIET)
class FiringRule:
    """A rule that fires in a part, as it told itself."""

    rule: Word
    where: str
    since: Moment


@dataclass(frozen=True, slots=True, config=QUIET)
class PartStanding:
    """One process as it answered last."""

    name: Word
    state: Literal["answers", "silent", "unsound"]
    answered_at: Moment | None = None
    version: Word | None = None
    started_at: Moment | None = None
    restarts: int | None = None
    """How often another one came in its place, as far as operations has looked."""
    certificate_ends_at: Moment | None = None
    alarms: Sequence[FiringRule] = ()


@dataclass(frozen=True, slots=True, config=QUIET)
class PartsStanding:
    """All processes, the brokers' disk and the trail at one look."""

    as_of: Moment | None = None
    parts: Sequence[PartStanding] = ()
    disk_bytes: int | None = None
    disk_free_bytes: int | None = None
    checkpoint_age_seconds: int | None = None
    oldest_offer_seconds: int | None = None
    last_backup_at: Moment | None = None
