"""What the pages show of letters and plans, field by field: whatever else a service tells is dropped."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from services.operations.domain.shown import FieldPath, Moment, Word
from services.runtime.acts import Whole


class ServiceFigures(BaseModel):
    """What is known; null is unknown, and shown so."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class LetterFigures(ServiceFigures):
    """Waiting letters of one reader, topic, code and type: how many, since when, and which is the oldest."""

    service: Word
    topic: Word
    code: Word
    type: Word | None = None
    count: Whole
    since: Moment | None = None
    oldest: Word | None = None


class LettersFigures(ServiceFigures):
    """Everything of the list of dead letters."""

    as_of: Moment
    silent: tuple[Word, ...] = ()
    """Services that did not say how many they have."""
    letters: tuple[LetterFigures, ...] = ()


class OneLetter(ServiceFigures):
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


class PlanFigures(ServiceFigures):
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
