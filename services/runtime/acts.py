"""What operators may have a service do: how it is asked for, what a dry run says of it, and who must agree.

`operations` alone asks, with an order; what a dry run found is the scope of the act, so what was shown is
what is done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schemas.ids import PlanId
from schemas.wire.body import Instant
from services.runtime import refusals

LETTERS_MAX: Final = 2_000
"""How many letters one plan is about; whoever makes another is given those tried least often."""

Reason = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,200}$")]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
LetterId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,40}$")]
TopicName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9._]{1,249}$")]
PartitionNumber = Annotated[int, Field(ge=0, lt=1 << 31)]
Whole = Annotated[int, Field(ge=0, lt=1 << 63)]
Figures = Annotated[dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9._]{1,249}$")], Whole],
                    Field(max_length=200)]  # fmt: skip
S = TypeVar("S", bound=BaseModel)


class _ActShape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class OperatorOrder(_ActShape):
    """Which plan is carried out, whose it is, who else agreed, and why; people by pseudonym."""

    plan: PlanId
    actor: Pseudonym
    approved_by: Pseudonym | None = None
    reason: Reason


class ActRequest(_ActShape, Generic[S]):
    """An act: the order, what it is about, and how much that is in the whole plan."""

    order: OperatorOrder
    scope: S
    count: Annotated[int, Field(ge=1, lt=1 << 63)]


class Rehearsal(_ActShape):
    """What a dry run found: how much is meant, figures to look at, and the scope to give back for the act."""

    count: Whole
    skips: bool = False
    """Whether events would never be read."""
    figures: Figures
    scope: dict[str, Any]


class ActCounts(_ActShape):
    """What came of an act: how many, by code."""

    counts: Figures


class LetterChoice(_ActShape):
    """Which waiting letters an operator means: all of one code, or fewer."""

    code: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
    topic: Annotated[str, Field(max_length=249)] | None = None
    type: Annotated[str, Field(max_length=249)] | None = None
    id: Annotated[str, Field(max_length=40)] | None = None


class RefillChoice(_ActShape):
    """What is to be sent again; without a topic all, without a time all that is kept."""

    topic: Annotated[str, Field(max_length=249)] | None = None
    since: Instant | None = None


class PartitionChoice(_ActShape):
    """Which partition is to go on; also the act's scope."""

    topic: TopicName
    partition: PartitionNumber


class OffsetChoice(PartitionChoice):
    """Where the reader of a partition is to go on."""

    to: Whole


class LetterScope(_ActShape):
    """These letters."""

    ids: Annotated[list[LetterId], Field(min_length=1, max_length=LETTERS_MAX)]


class RefillScope(_ActShape):
    """What was sent to these topics from one place to before another: what was sent again is not among it."""

    topics: Annotated[list[TopicName], Field(max_length=100)]
    first: Whole
    before: Whole


class OffsetScope(OffsetChoice):
    """From where to where; refused where the reader has gone on meanwhile."""

    following: Whole


@dataclass(frozen=True, slots=True)
class ActRule:
    """How an act is asked for, in which form a dry run says what it is about, and who must agree to it."""

    choice: type[_ActShape]
    scope: type[_ActShape]
    """No other is kept, ordered or signed."""
    alone_max: int | None
    """How much of it one person does alone; None is any number."""
    is_sliced: bool = False
    """Whether it is done so many a second; any other is one request, all of it or nothing."""

    @property
    def is_about_letters(self) -> bool:
        """Whether its scope are letters that wait."""
        return self.scope is LetterScope


ACTS: Final[Mapping[str, ActRule]] = {
    "redrive": ActRule(LetterChoice, LetterScope, alone_max=50, is_sliced=True),
    "discard": ActRule(LetterChoice, LetterScope, alone_max=0),
    "resume": ActRule(PartitionChoice, PartitionChoice, alone_max=None),
    "refill": ActRule(RefillChoice, RefillScope, alone_max=None),
    "reset": ActRule(OffsetChoice, OffsetScope, alone_max=None),
}
"""Every act that operators have a service do."""


def needs_second(act: str, count: int, *, skips: bool = False) -> bool:
    """Whether a second person must agree: to what is given up or skipped, and to more than a few letters."""
    alone = 0 if skips else ACTS[act].alone_max
    return alone is not None and count > alone


def check_second(act: str, asked: ActRequest[S], *, skips: bool = False) -> None:
    """Refuse what one person may not do alone; the second is another than the first."""
    order = asked.order
    if needs_second(act, asked.count, skips=skips) and order.approved_by in (None, order.actor):
        raise refusals.SecondPersonNeeded
