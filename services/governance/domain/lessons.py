"""Lessons: what partners learned, without persons, and which rule, budget or service it changed."""

from functools import partial
from typing import ClassVar, Final

from pydantic import Field

from schemas.events.dialogue import Cause
from schemas.events.learning import LessonShared
from schemas.events.partnership import Constituency
from schemas.ids import ProtocolVersionId, RecommendationId
from services.governance.domain.life_cycle import (
    NOTHING,
    ActBody,
    ActRow,
    Change,
    Content,
    LifeCycle,
    Nothing,
    Scene,
    UnknownReference,
    condition,
    drop_row,
)
from services.governance.domain.partners import SameConstituency, admitted
from services.governance.domain.protocols import SharingVersion, was_in_force
from services.governance.domain.recommendations import Recommendation
from services.governance.domain.titles import PolicyText, TitleNamesSomebody, check_title
from services.runtime.errors import define_refusal

DONE: Final = ("implemented", "verified")
"""The states of a recommendation in which it changed something."""

_define: Final = partial(define_refusal, __name__)

OneChange: Final = _define(
    "one_change", "Name what it changed: a version of a protocol or a recommendation, one of them.", 422
)


class LessonText(ActBody):
    """A lesson as a partner proposes it, with what it changed."""

    text: PolicyText
    causes: tuple[Cause, ...] = Field(min_length=1, max_length=7)
    protocol: ProtocolVersionId | None = None
    recommendation: RecommendationId | None = None


class Lesson(LessonText, Content):
    """A lesson, and for whom its proposer spoke."""

    kind: ClassVar[str] = "lesson"

    constituency: Constituency


@condition(TitleNamesSomebody)
def _is_said(_: Scene, __: None, body: LessonText) -> None:
    check_title(body.text)


@condition(OneChange)
def _names_its_change(scene: Scene, _: None, body: LessonText) -> None:
    """What stands already: a lesson tells of a change that came about, not of one that is hoped for."""
    if (body.protocol is None) == (body.recommendation is None):
        raise OneChange
    if body.protocol:
        changed = was_in_force(scene.register.find(SharingVersion, body.protocol))
    else:
        changed = scene.register.find(Recommendation, body.recommendation).state in DONE
    if not changed:
        raise UnknownReference


@condition(SameConstituency)
def _by_another_constituency(scene: Scene, content: Lesson, _: Nothing) -> None:
    if admitted(scene.register, scene.partner).constituency == content.constituency:
        raise SameConstituency


def _propose(scene: Scene, _: None, body: LessonText) -> Change:
    own = admitted(scene.register, scene.partner).constituency
    return Change(Lesson(**dict(body), constituency=own))


def _share(scene: Scene, content: Lesson, _: Nothing) -> Change:
    if content.protocol:
        document = scene.register.find(SharingVersion, content.protocol).content.document
        told = {"changed": "rule", "protocol": document.id, "version": document.version}
    else:
        its = scene.register.find(Recommendation, content.recommendation).content
        told = {"changed": its.changes, "recommendation": content.recommendation}
    confirming = admitted(scene.register, scene.partner).constituency
    fact = LessonShared.model_validate(
        {"lesson": scene.act.id, "causes": content.causes, **told}
        | {"constituencies": (content.constituency, confirming)}
    )
    return Change(content, (fact,))


LESSONS: Final = LifeCycle(
    content=Lesson,
    plural="lessons",
    id_kind="lesson",
    most=10_000,
    waits="proposed",
    rows=(
        ActRow(NOTHING, "propose", "seat", "proposed", LessonText, _propose,
            (_is_said, _names_its_change), "Propose a lesson, and name what it changed."),
        drop_row("proposed", "seat"),
        ActRow("proposed", "share", "seat", "shared", Nothing, _share,
            (_by_another_constituency,), "Confirm a lesson for another constituency than its proposer's."),
    ),
    example={
        "text": "Shelters that were told of an offer by phone alone answered a day later.",
        "causes": ["weak_institutions"], "protocol": "shared-care.2",
    },
)  # fmt: skip
