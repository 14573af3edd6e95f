"""Recommendations: agreed by two constituencies at least, owned, and verified by somebody else."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from schemas.events.codes import Area
from schemas.events.dialogue import (
    Cause,
    Pillar,
    RecommendationAgreed,
    RecommendationAssigned,
    RecommendationBase,
    RecommendationImplemented,
    RecommendationProgressed,
    RecommendationStalled,
    RecommendationVerified,
)
from schemas.events.partnership import Constituency, Level, Phase
from schemas.ids import AgencyId, DialogueId
from schemas.wire.body import Code, Instant, listed
from services.governance.domain.areas import UnknownArea
from services.governance.domain.dialogues import Dialogue
from services.governance.domain.life_cycle import (
    CLOCK,
    DECISION,
    NOTHING,
    ActBody,
    ActRow,
    Change,
    Content,
    GovernanceRecord,
    LifeCycle,
    Nothing,
    Scene,
    UnknownReference,
    condition,
    drop_row,
)
from services.governance.domain.partners import Partner, admitted
from services.governance.domain.titles import PolicyText, TitleNamesSomebody, check_title
from services.runtime.errors import define_refusal

EVIDENCE: Final = (
    "law_passed",
    "budget_approved",
    "service_opened",
    "rule_changed",
    "training_held",
    "report",
)
STALLS_AFTER: Final = timedelta(days=30)
"""How long after its last movement a recommendation past due is stalled."""
IN_A_SEAT: Final = f"seat {DECISION}"
"""Whoever has a seat; and a file of past years that another constituency confirmed, in a partner's name."""
DUE_WITHIN: Final = timedelta(days=5 * 366)

_define: Final = partial(define_refusal, __name__)

AgreedAlready: Final = _define(
    "agreed_already", "Your constituency agrees already; another one's word counts."
)
NotOwner: Final = _define("not_owner", "Its owner says how far it is; ask that partner.", 403)
OwnVerification: Final = _define(
    "own_verification", "Let a partner of another constituency than the owner's verify it.", 403
)
DueUnfit: Final = _define("due_unfit", "Give a day after now, within five years.", 422)
NotFurther: Final = _define("not_further", "Progress goes forward: give more per cent than last time.", 422)
NoAgreement: Final = _define("no_agreement", "One of the partners that agreed to it assigns it.", 403)


class RecommendationText(ActBody):
    """A recommendation as a partner proposes it."""

    text: PolicyText
    level: Level
    area: Area
    phase: Phase
    pillar: Pillar
    causes: tuple[Cause, ...] = Field(min_length=1, max_length=7)
    changes: Literal["rule", "budget", "service", "nothing"]
    dialogue: DialogueId | None = None


class Assignment(ActBody):
    """Who owns it, and until when."""

    owner: AgencyId
    due_at: Instant


class Progress(ActBody):
    """How far its owner is."""

    per_cent: Annotated[int, Field(strict=True, ge=1, le=99)]


class Implementation(ActBody):
    """What shows that it is done."""

    evidence: Annotated[Code, listed(EVIDENCE)]


class Recommendation(RecommendationText, Content):
    """A recommendation, who agreed, who owns it and how far it is."""

    kind: ClassVar[str] = "recommendation"

    agreed_by: tuple[AgencyId, ...] = Field(default=(), max_length=9)
    constituencies: tuple[Constituency, ...] = Field(default=(), max_length=9)
    agreed_at: Instant | None = None
    """When it became a joint one."""
    owner: AgencyId | None = None
    owner_constituency: Constituency | None = None
    """For whom the owner spoke when it took it on."""
    due_at: Instant | None = None
    moved_at: Instant | None = None
    per_cent: int = 0
    progressed_at: Instant | None = None
    implemented_at: Instant | None = None
    evidence: Annotated[Code, listed(EVIDENCE)] | None = None
    verified_by: AgencyId | None = None
    verified_at: Instant | None = None


@condition(TitleNamesSomebody, UnknownArea)
def _is_said(scene: Scene, _: None, body: RecommendationText) -> None:
    check_title(body.text)
    scene.rules.areas.check(body.area)
    if body.dialogue and scene.register.find(Dialogue, body.dialogue).state != "held":
        raise UnknownReference


@condition(AgreedAlready)
def _is_another_voice(scene: Scene, content: Recommendation, _: Nothing) -> None:
    if admitted(scene.register, scene.partner).constituency in content.constituencies:
        raise AgreedAlready


@condition(NoAgreement, DueUnfit)
def _can_be_assigned(scene: Scene, content: Recommendation, body: Assignment) -> None:
    if scene.partner not in content.agreed_by:
        raise NoAgreement
    admitted(scene.register, body.owner)
    if not timedelta() < body.due_at - scene.at <= DUE_WITHIN:
        raise DueUnfit


@condition(NotOwner)
def _by_owner(scene: Scene, content: Recommendation, _: ActBody) -> None:
    if scene.partner != content.owner:
        raise NotOwner


@condition(NotFurther)
def _goes_forward(_: Scene, content: Recommendation, body: Progress) -> None:
    if body.per_cent <= content.per_cent:
        raise NotFurther


@condition(OwnVerification)
def _by_another_constituency(scene: Scene, content: Recommendation, _: Nothing) -> None:
    owner = scene.register.find(Partner, content.owner).content  # whether or not it takes part any longer
    owners = {owner.constituency, content.owner_constituency}  # who leaves may come back for somebody else
    if admitted(scene.register, scene.partner).constituency in owners:
        raise OwnVerification


def _propose(scene: Scene, _: None, body: RecommendationText) -> Change:
    own = admitted(scene.register, scene.partner).constituency
    return Change(Recommendation(**dict(body), agreed_by=(scene.partner,), constituencies=(own,)))


def _agree(scene: Scene, content: Recommendation, _: Nothing) -> Change:
    """The second constituency makes it a joint one; each further one is told with all."""
    own = admitted(scene.register, scene.partner).constituency
    after = content.model_copy(
        update={
            "agreed_by": (*content.agreed_by, scene.partner),
            "constituencies": (*content.constituencies, own),
            "agreed_at": content.agreed_at or scene.at,
        }
    )
    told = after.model_dump(include={"phase", "pillar", "causes", "changes", "constituencies", "dialogue"})
    return _told(scene, after, RecommendationAgreed, **told)


def _assign(scene: Scene, content: Recommendation, body: Assignment) -> Change:
    whose = admitted(scene.register, body.owner).constituency
    moved = {"moved_at": scene.at, "owner_constituency": whose}
    return _told(
        scene, content.model_copy(update={**dict(body), **moved}), RecommendationAssigned, **dict(body)
    )


def _progress(scene: Scene, content: Recommendation, body: Progress) -> Change:
    after = content.model_copy(update={**dict(body), "moved_at": scene.at, "progressed_at": scene.at})
    return _told(scene, after, RecommendationProgressed, **dict(body))


def _implement(scene: Scene, content: Recommendation, body: Implementation) -> Change:
    after = content.model_copy(update={**dict(body), "implemented_at": scene.at})
    return _told(scene, after, RecommendationImplemented, evidence=body.evidence)


def _verify(scene: Scene, content: Recommendation, _: Nothing) -> Change:
    after = content.model_copy(update={"verified_by": scene.partner, "verified_at": scene.at})
    return _told(scene, after, RecommendationVerified, verifier=scene.partner)


def _stall(scene: Scene, content: Recommendation, _: Nothing) -> Change:
    return _told(scene, content, RecommendationStalled, owner=content.owner)


def _told(scene: Scene, after: Recommendation, fact: type[RecommendationBase], **more: object) -> Change:
    place = {"recommendation": scene.act.id, "level": after.level, "area": after.area}
    return Change(after, (fact.model_validate({**place, **more}),))


def _timer(record: GovernanceRecord[Recommendation]) -> tuple[datetime, str] | None:
    its = record.content
    if record.state not in ("assigned", "progressed") or its.due_at is None or its.moved_at is None:
        return None
    return max(its.due_at, its.moved_at + STALLS_AFTER), "stall"


RECOMMENDATIONS: Final = LifeCycle(
    content=Recommendation,
    plural="recommendations",
    id_kind="recommendation",
    most=20_000,
    waits="proposed",
    rows=(
        ActRow(NOTHING, "propose", IN_A_SEAT, "proposed", RecommendationText, _propose,
            (_is_said,), "Propose a recommendation; another constituency makes it a joint one."),
        drop_row("proposed", "seat"),
        ActRow("proposed agreed", "agree", IN_A_SEAT, "agreed", Nothing, _agree,
            (_is_another_voice,), "Agree, for your constituency."),
        ActRow("agreed stalled", "assign", IN_A_SEAT, "assigned", Assignment, _assign,
            (_can_be_assigned,), "Say who owns it, and by when."),
        ActRow("assigned progressed stalled", "progress", IN_A_SEAT, "progressed", Progress, _progress,
            (_by_owner, _goes_forward), "Say how far you are."),
        ActRow("assigned progressed stalled", "implement", IN_A_SEAT, "implemented", Implementation,
            _implement, (_by_owner,), "Say that it is done, and what shows it."),
        ActRow("implemented", "verify", IN_A_SEAT, "verified", Nothing, _verify,
            (_by_another_constituency,), "Find it done, as another constituency than the owner's."),
        ActRow("assigned progressed", "stall", CLOCK, "stalled", Nothing, _stall),
    ),
    example={
        "text": "Let each police station name a duty desk that answers shelters within an hour.",
        "level": "district", "area": "ZZ0103", "phase": "planning", "pillar": "services",
        "causes": ["weak_institutions"], "changes": "service",
    },
    timer=_timer,
)  # fmt: skip
