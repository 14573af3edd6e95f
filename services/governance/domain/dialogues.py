"""Dialogues: where partners and those concerned speak, counted by constituency and by group."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from schemas.events.codes import Area
from schemas.events.dialogue import SMALL, DialogueHeld, Group, Pillar, Tally
from schemas.events.partnership import Constituency, Level, Phase
from schemas.wire.body import Instant
from services.governance.domain.areas import UnknownArea
from services.governance.domain.life_cycle import (
    NOTHING,
    ActBody,
    ActRow,
    Change,
    Content,
    LifeCycle,
    NotMadeByYou,
    Scene,
    condition,
    drop_row,
    made_by_actor,
)
from services.governance.domain.mandates import Backdated
from services.governance.domain.meetings import AHEAD_MAX, EARLY_BY, LATE_BY, TooEarly
from services.governance.domain.titles import Title, TitleNamesSomebody, check_title
from services.runtime.errors import define_refusal

_define: Final = partial(define_refusal, __name__)

TooFarAhead: Final = _define("too_far_ahead", "Announce a dialogue at most 400 days ahead.", 422)
CountedTwice: Final = _define(
    "counted_twice", "Count each person in one group alone: the groups are more people than took part.", 422
)


class Announcement(ActBody):
    """A dialogue as its convenor announces it."""

    title: Title
    level: Level
    area: Area
    phase: Phase
    pillar: Pillar
    begins_at: Instant


class Participants(ActBody):
    """Who took part: counts, which are kept as `<5` where they are small."""

    by_constituency: Mapping[Constituency, Tally] = Field(min_length=1, max_length=9)
    by_group: Mapping[Group, Tally] = Field(default={}, max_length=9)
    _counts_twice: bool = PrivateAttr(default=False)

    @property
    def counts_twice(self) -> bool:
        """Whether the groups, at their fewest, are more people than took part at most."""
        return self._counts_twice

    @model_validator(mode="wrap")
    @classmethod
    def _compare(cls, said: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        """Compare while small counts can still be told from each other; `<5` may be one to four."""
        its = read(said)
        if isinstance(said, Mapping):
            groups, people = said.get("by_group", {}), said["by_constituency"]
            its._counts_twice = _sum(groups, 1) > _sum(people, 4)
        return its


class Dialogue(Announcement, Content):
    """A dialogue, and who took part."""

    kind: ClassVar[str] = "dialogue"

    participants: Participants | None = None


@condition(TitleNamesSomebody, UnknownArea, Backdated, TooFarAhead)
def _is_announced(scene: Scene, _: None, body: Announcement) -> None:
    check_title(body.title)
    scene.rules.areas.check(body.area)
    if body.begins_at < scene.at - LATE_BY:
        raise Backdated
    if body.begins_at > scene.at + AHEAD_MAX:
        raise TooFarAhead


@condition(NotMadeByYou, TooEarly)
def _has_begun(scene: Scene, content: Dialogue, _: Participants) -> None:
    if scene.at < content.begins_at - EARLY_BY:
        raise TooEarly


@condition(CountedTwice)
def _counts_once(_: Scene, __: Dialogue, body: Participants) -> None:
    if body.counts_twice:
        raise CountedTwice


def _announce(_: Scene, __: None, body: Announcement) -> Change:
    return Change(Dialogue(**dict(body)))


def _hold(scene: Scene, content: Dialogue, body: Participants) -> Change:
    told = content.model_dump(include={"level", "area", "phase", "pillar"})
    convenor = scene.partner
    fact = DialogueHeld(
        dialogue=scene.act.id, convenor=convenor, heard_no_group=not body.by_group, **told, **dict(body)
    )
    return Change(content.model_copy(update={"participants": body}), (fact,))


def _sum(counts: Mapping[str, Any], small: int) -> int:
    return sum(small if one == SMALL else int(one) for one in counts.values())


DIALOGUES: Final = LifeCycle(
    content=Dialogue,
    plural="dialogues",
    id_kind="dialogue",
    most=10_000,
    waits="announced",
    rows=(
        ActRow(NOTHING, "announce", "seat secretary", "announced", Announcement, _announce,
            (_is_announced,), "Announce a dialogue that your organisation convenes."),
        drop_row("announced", "seat secretary"),
        ActRow("announced", "hold", "seat secretary", "held", Participants, _hold,
            (made_by_actor, _has_begun, _counts_once), "Say who took part, in counts."),
    ),
    example={
        "title": "What a shelter needs from the police", "level": "district", "area": "ZZ0103",
        "phase": "planning", "pillar": "services", "begins_at": "2027-02-10T09:00:00Z",
    },
)  # fmt: skip
