"""What the partners said together: dialogues, and the recommendations that they agreed on; never people."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from schemas.events.codes import Area
from schemas.events.partnership import Constituency, Level, Phase
from schemas.ids import AgencyId, DialogueId, RecommendationId
from schemas.wire.body import Body, Code, Count, Flag, Instant, by_type, listed

PILLARS: Final = ("laws", "institutions", "prevention", "services", "data", "movements")
GROUPS: Final = (
    "women_with_disabilities", "displaced_women", "rural_women", "indigenous_women", "young_women",
    "older_women", "women_living_with_hiv", "lesbian_bisexual_trans_women", "women_in_poverty",
)  # fmt: skip
"""Groups that face several forms of discrimination at once."""
CAUSES: Final = (
    "harmful_norms", "unequal_law", "weak_institutions", "economic_dependence", "lack_of_services",
    "lack_of_data", "impunity",
)  # fmt: skip
"""The root causes that a recommendation is about."""
SMALL: Final = "<5"
"""What stands in place of a count under five: in so small a group somebody could be told."""

Pillar = Annotated[Code, listed(PILLARS)]
Group = Annotated[Code, listed(GROUPS)]
Cause = Annotated[Code, listed(CAUSES)]


def _coarse(count: Any) -> Any:
    text = str(count) if isinstance(count, int) and not isinstance(count, bool) else count
    return SMALL if text in ("1", "2", "3", "4") else text


Tally = Annotated[str, Field(pattern=r"^(<5|[5-9]|[1-9][0-9]{1,5})$"), BeforeValidator(_coarse)]
"""How many took part, as a number or its digits; one to four become `<5` before anything is kept."""


class DialogueHeld(Body):
    """Partners and those concerned spoke with each other."""

    type: ClassVar[str] = "governance.dialogue_held"
    key_field: ClassVar[str] = "dialogue"

    dialogue: DialogueId
    convenor: AgencyId
    level: Level
    area: Area
    phase: Phase
    pillar: Pillar
    by_constituency: Mapping[Constituency, Tally]
    by_group: Mapping[Group, Tally]
    heard_no_group: Flag
    """Whether none of the groups concerned took part; every report marks it."""


class RecommendationBase(Body):
    """What every fact about a recommendation says."""

    key_field: ClassVar[str] = "recommendation"

    recommendation: RecommendationId
    level: Level
    area: Area


class RecommendationAgreed(RecommendationBase):
    """Partners of two constituencies at least agreed on it."""

    type: ClassVar[str] = "governance.recommendation_agreed"

    phase: Phase
    pillar: Pillar
    causes: tuple[Cause, ...]
    changes: Literal["rule", "budget", "service", "nothing"]
    constituencies: tuple[Constituency, ...]
    """Who agreed, the proposer's first."""
    dialogue: DialogueId | None = None


class RecommendationAssigned(RecommendationBase):
    """A partner owns it, and has a day by which it is due."""

    type: ClassVar[str] = "governance.recommendation_assigned"

    owner: AgencyId
    due_at: Instant


class RecommendationProgressed(RecommendationBase):
    """Its owner came nearer."""

    type: ClassVar[str] = "governance.recommendation_progressed"

    per_cent: Annotated[Count, Field(le=99)]


class RecommendationImplemented(RecommendationBase):
    """Its owner says that it is done, and what shows it."""

    type: ClassVar[str] = "governance.recommendation_implemented"

    evidence: Code


class RecommendationVerified(RecommendationBase):
    """A partner of another constituency than the owner's found it done."""

    type: ClassVar[str] = "governance.recommendation_verified"

    verifier: AgencyId


class RecommendationStalled(RecommendationBase):
    """It is past due, and nothing moved."""

    type: ClassVar[str] = "governance.recommendation_stalled"

    owner: AgencyId


FACTS: Final = by_type(
    DialogueHeld, RecommendationAgreed, RecommendationAssigned, RecommendationProgressed,
    RecommendationImplemented, RecommendationVerified, RecommendationStalled,
)  # fmt: skip
