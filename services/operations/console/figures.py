"""What the pages are made of, field by field: whatever else comes is dropped; no field holds a payload."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict

from services.runtime.acts import Whole

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,248}")
_PATH: Final = re.compile(r"#?(/([a-z][a-z0-9_]{0,39}|[0-9]{1,6}|\*))*")
HIDDEN: Final = "*"


def _word(value: Any) -> Any:
    """What is no name of ours is not shown, whoever let it through."""
    return HIDDEN if isinstance(value, str) and not _WORD.fullmatch(value) else value


def _path(value: Any) -> Any:
    return HIDDEN if isinstance(value, str) and not _PATH.fullmatch(value) else value


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:  # the first and the last day of all calendars, elsewhere
        raise ValueError("no such moment") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Word = Annotated[str, BeforeValidator(_word)]
"""A name of our own: of a service, a topic, a code."""
FieldPath = Annotated[str, BeforeValidator(_path)]
"""A place in an event, named by our own schemas alone."""


class ShownFigures(BaseModel):
    """What is known; null is unknown, and shown so."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True, hide_input_in_errors=True)


class GroupFigures(ShownFigures):
    """One reader of one topic: its verdict with the rule in words, and how far it is behind."""

    service: Word
    topic: Word
    verdict: Word
    rule: Word
    words: str
    lag_seconds: float | None = None
    lag_messages: int | None = None
    commit_age_seconds: float | None = None
    members: int | None = None
    history: tuple[tuple[Moment, float | None], ...] = ()


class OutboxFigures(ShownFigures):
    """What a service has still to send."""

    service: Word
    pending: int | None = None
    oldest_seconds: float | None = None


class RateFigures(ShownFigures):
    """How much is written to a topic."""

    topic: Word
    per_minute: float | None = None


class ProbePairFigures(ShownFigures):
    """Two sectors, the owner's first, and how the rounds of their probes went."""

    owner: Word
    receiver: Word
    succeeded_at: Moment | None = None
    seconds: float | None = None
    failing_since: Moment | None = None


class FailedRoundFigures(ShownFigures):
    """How many rounds of a day failed by one code."""

    code: Word
    count: int


class ProbeFigures(ShownFigures):
    """How the probe does."""

    pairs: tuple[ProbePairFigures, ...] = ()
    failed: tuple[FailedRoundFigures, ...] = ()
    facts_seen_at: Moment | None = None


class StreamsFigures(ShownFigures):
    """Everything of the page of streams; without `as_of` nothing was ever looked at."""

    as_of: Moment | None = None
    groups: tuple[GroupFigures, ...] = ()
    outboxes: tuple[OutboxFigures, ...] = ()
    rates: tuple[RateFigures, ...] = ()
    probe: ProbeFigures | None = None


class AlarmFigures(ShownFigures):
    """A rule that fires in a part; where is in our own words."""

    rule: Word
    where: str = ""
    since: Moment


class PartFigures(ShownFigures):
    """One part of the installation."""

    name: Word
    state: Word
    answered_at: Moment | None = None
    version: Word | None = None
    started_at: Moment | None = None
    restarts: int | None = None
    certificate_ends_at: Moment | None = None
    alarms: tuple[AlarmFigures, ...] = ()


class PartsFigures(ShownFigures):
    """Everything of the page of parts."""

    as_of: Moment | None = None
    parts: tuple[PartFigures, ...] = ()
    disk_bytes: int | None = None
    disk_free_bytes: int | None = None
    checkpoint_age_seconds: float | None = None
    oldest_offer_seconds: float | None = None
    last_backup_at: Moment | None = None


class LetterFigures(ShownFigures):
    """Waiting letters of one reader, topic, code and type: how many, since when, and which is the oldest."""

    service: Word
    topic: Word
    code: Word
    type: Word | None = None
    count: Whole
    since: Moment | None = None
    oldest: Word | None = None


class LettersFigures(ShownFigures):
    """Everything of the list of dead letters."""

    as_of: Moment
    silent: tuple[Word, ...] = ()
    """Services that did not say how many they have."""
    letters: tuple[LetterFigures, ...] = ()


class OneLetter(ShownFigures):
    """All that may be shown of one letter."""

    id: Word
    state: Word
    topic: Word
    partition: Whole
    offset: Whole
    code: Word
    path: FieldPath | None = None
    type: Word | None = None
    bytes: Whole | None = None
    attempts: Whole
    record_at: Moment | None = None
    first_at: Moment
    last_at: Moment


class PlanFigures(ShownFigures):
    """An act that was tried without effect first: what it would do, who may let it run, how far it is."""

    id: Word
    act: Word
    service: Word
    chosen: Mapping[Word, Word | int | None] = {}
    count: int
    readable: int | None = None
    still: Mapping[Word, int] = {}
    skips: bool = False
    rate_per_second: float | None = None
    expires_at: Moment
    needs_second: bool
    state: Word
    is_first: bool = False
    """Whether who looks at it made it."""
    made_by: str | None = None
    reason: str | None = None
    approved_by: str | None = None
    progress: Mapping[Word, int] = {}
    failure: Word | None = None
    receipt: str | None = None
