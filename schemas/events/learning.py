"""What the partners learn together: how services were found, and what a lesson changed; never people."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from schemas.events.codes import NeedCode
from schemas.events.dialogue import Cause, Tally
from schemas.events.partnership import Constituency
from schemas.ids import AgencyId, JointReleaseId, LessonId, ProtocolId, RecommendationId, ScorecardId
from schemas.wire.body import Body, Code, Count, by_type, listed

QUESTIONS: Final[Mapping[str, str]] = {
    "safe": "Is it safe to come, to be there and to go?",
    "respectful": "Are people believed, and treated with respect?",
    "confidential": "Does what is told stay with those who need it?",
    "accessible": "Can everybody use it, whatever their body, language, money or place?",
    "timely": "Does help come when it is needed?",
    "explained": "Are the choices explained, and is a no accepted?",
    "accountable": "Does it say where to complain, and does a complaint change anything?",
}
"""What a reference group is asked about a service: code → question."""

Question = Annotated[Code, listed(QUESTIONS)]
Score = Annotated[int, Field(strict=True, ge=1, le=5)]
"""From 1, never, to 5, always."""
Month = Annotated[str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")]
Quarter = Annotated[str, Field(pattern=r"^20\d\d-Q[1-4]$")]


class ScorecardBase(Body):
    """What every fact about a scorecard says."""

    key_field: ClassVar[str] = "scorecard"

    scorecard: ScorecardId
    agency: AgencyId
    service: NeedCode
    quarter: Quarter


class ServiceScored(ScorecardBase):
    """A reference group of civil society said how it finds an agency's service."""

    type: ClassVar[str] = "governance.service_scored"

    scored_by: AgencyId
    constituency: Constituency
    people: Tally
    """How many stood behind it."""
    scores: Mapping[Question, Score]


class ScorecardWithdrawn(ScorecardBase):
    """Whoever made a scorecard took it back."""

    type: ClassVar[str] = "governance.scorecard_withdrawn"


class LessonShared(Body):
    """Two constituencies share a lesson, and name what it changed."""

    type: ClassVar[str] = "governance.lesson_shared"
    key_field: ClassVar[str] = "lesson"

    lesson: LessonId
    causes: tuple[Cause, ...]
    changed: Literal["rule", "budget", "service", "nothing"]
    constituencies: tuple[Constituency, ...]
    """The proposer's first."""
    protocol: ProtocolId | None = None
    version: Count | None = None
    recommendation: RecommendationId | None = None


class ReleasePublished(Body):
    """The figures of a month are published for good; civil society signed them."""

    type: ClassVar[str] = "governance.release_published"
    key_field: ClassVar[str] = "release"

    release: JointReleaseId
    period: Month
    corrects: JointReleaseId | None = None
    signed_by: AgencyId


FACTS: Final = by_type(ServiceScored, ScorecardWithdrawn, LessonShared, ReleasePublished)
