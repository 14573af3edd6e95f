"""Scorecards: what reference groups of civil society think of a service, question by question."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Final

from pydantic import Field

from schemas.events.codes import NeedCode
from schemas.events.dialogue import SMALL, Tally
from schemas.events.learning import QUESTIONS, Quarter, Question, Score, ScorecardWithdrawn, ServiceScored
from schemas.events.partnership import CIVIL
from schemas.ids import AgencyId
from services.governance.domain.life_cycle import (
    NOTHING,
    ActBody,
    ActRow,
    Change,
    Content,
    LifeCycle,
    Nothing,
    Scene,
    condition,
    made_by_actor,
)
from services.governance.domain.partners import admitted
from services.runtime.errors import define_refusal

REFERENCE: Final = CIVIL | {"affected_group"}
"""The constituencies whose groups score."""
QUARTERS_BACK: Final = 8

_define: Final = partial(define_refusal, __name__)

NotReferenceGroup: Final = _define(
    "not_reference_group", "Civil society, women's movements and affected groups score services.", 403
)
OwnScorecard: Final = _define("own_scorecard", "No agency scores itself; let another partner's group.", 403)
NoService: Final = _define("no_service", "Name a partner that answers referrals in a sector.", 422)
QuarterOpen: Final = _define("quarter_open", "Name a quarter that is over, of the last two years.", 422)
TooFewPeople: Final = _define(
    "too_few_people", "Let five people stand behind it at least: fewer could be recognised by it.", 422
)
ScoredAlready: Final = _define(
    "scored_already", "Your organisation scored this service for that quarter; withdraw that one first."
)


class ScorecardAnswers(ActBody):
    """What a reference group answers about one service of an agency, for a quarter."""

    agency: AgencyId
    service: NeedCode
    quarter: Quarter
    people: Tally
    scores: Mapping[Question, Score] = Field(min_length=len(QUESTIONS), max_length=len(QUESTIONS))


class Scorecard(ScorecardAnswers, Content):
    """A scorecard as it was given."""

    kind: ClassVar[str] = "scorecard"


@condition(NotReferenceGroup)
def _by_reference_group(scene: Scene, _: None, __: ScorecardAnswers) -> None:
    if admitted(scene.register, scene.partner).constituency not in REFERENCE:
        raise NotReferenceGroup


@condition(OwnScorecard, NoService)
def _is_of_anothers_service(scene: Scene, _: None, body: ScorecardAnswers) -> None:
    if body.agency == scene.partner:
        raise OwnScorecard
    if admitted(scene.register, body.agency).sector is None:
        raise NoService


@condition(QuarterOpen)
def _is_over(scene: Scene, _: None, body: ScorecardAnswers) -> None:
    year, number = body.quarter.split("-Q")
    at = scene.at.astimezone(scene.rules.zone)
    now = at.year * 4 + (at.month - 1) // 3
    if not 1 <= now - (int(year) * 4 + int(number) - 1) <= QUARTERS_BACK:
        raise QuarterOpen


@condition(TooFewPeople)
def _is_no_single_voice(_: Scene, __: None, body: ScorecardAnswers) -> None:
    if body.people == SMALL:
        raise TooFewPeople


@condition(ScoredAlready)
def _is_first(scene: Scene, _: None, body: ScorecardAnswers) -> None:
    if any(
        (one.state, one.made_by) == ("scored", scene.partner) and _about(one.content) == _about(body)
        for one in scene.register.all(Scorecard)
    ):
        raise ScoredAlready


def _score(scene: Scene, _: None, body: ScorecardAnswers) -> Change:
    own = admitted(scene.register, scene.partner).constituency
    fact = ServiceScored(
        scorecard=scene.act.id, scored_by=scene.partner, constituency=own, **body.model_dump()
    )
    return Change(Scorecard(**dict(body)), (fact,))


def _withdraw(scene: Scene, content: Scorecard, _: Nothing) -> Change:
    told = content.model_dump(include={"agency", "service", "quarter"})
    return Change(content, (ScorecardWithdrawn(scorecard=scene.act.id, **told),))


def _about(body: ScorecardAnswers) -> tuple[str, str, str]:
    return body.agency, body.service, body.quarter


SCORECARDS: Final = LifeCycle(
    content=Scorecard,
    plural="scorecards",
    id_kind="scorecard",
    most=50_000,
    waits="",
    rows=(
        ActRow(NOTHING, "score", "seat", "scored", ScorecardAnswers, _score,
            (_by_reference_group, _is_of_anothers_service, _is_over, _is_no_single_voice, _is_first),
            "Score a service of an agency for a quarter that is over, for your reference group."),
        ActRow("scored", "withdraw", "seat", "withdrawn", Nothing, _withdraw,
            (made_by_actor,), "Take back a scorecard that your organisation made."),
    ),
    example={
        "agency": "hill-health", "service": "medical_care", "quarter": "2026-Q3", "people": 14,
        "scores": dict.fromkeys(QUESTIONS, 3),
    },
)  # fmt: skip
