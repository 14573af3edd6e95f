"""Releases: the counts of a month, protected once, signed by civil society, and served as they are."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.events.codes import (
    ACCESS_NEEDS,
    DECLINE_REASONS,
    HOPS_MAX,
    NEEDS,
    NOT_PROVIDED_REASONS,
    OUTCOMES,
)
from schemas.events.governance import URGENCIES
from schemas.events.learning import Month, ReleasePublished
from schemas.events.partnership import CIVIL
from schemas.ids import AgencyId, JointReleaseId
from schemas.wire.body import Instant
from services.governance.domain.disclosure import (
    CELLS_MAX,
    SMALL,
    CountTable,
    Shown,
    correct,
    protect,
    size,
    sums_agree,
)
from services.governance.domain.figures import AREA, IndicatorPart, span_of
from services.governance.domain.life_cycle import (
    NOTHING,
    ActBody,
    ActRow,
    Change,
    Content,
    GovernanceRecord,
    LifeCycle,
    Nothing,
    Scene,
    condition,
    drop_row,
)
from services.governance.domain.partners import Partner, admitted
from services.runtime.errors import define_refusal

UNKNOWN: Final = "unknown"
CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "need": (*NEEDS, UNKNOWN),
    "access_need": (*ACCESS_NEEDS, UNKNOWN),
    "urgency": (*URGENCIES, UNKNOWN),
    "met": ("met", "missed", UNKNOWN),
    "answer": ("accepted", "declined", "expired"),
    "decline_reason": tuple(DECLINE_REASONS),
    "outcome": (*OUTCOMES, "not_provided", "unreachable"),
    "not_provided_reason": tuple(NOT_PROVIDED_REASONS),
    "after_feedback": ("yes", "no"),
    "hop": (*map(str, range(1, HOPS_MAX + 1)), UNKNOWN),
    "within_24_h": ("yes", "no"),
}
"""Dimension → the codes that have a cell whether anything was counted or not."""
ELSEWHERE: Final = "other"
"""Where an area is counted in which too few agencies contributed."""

OLDEST: Final = timedelta(days=2 * 366)

_define: Final = partial(define_refusal, __name__)

PeriodOpen: Final = _define(
    "period_open", "Name a month that is over, with its facts in, of the last two years.", 422
)
ReleasedAlready: Final = _define(
    "released_already",
    "It is released, waits to be signed, or you dropped its draft; name what you correct, or let others ask.",
)
CorrectionUnfit: Final = _define(
    "correction_unfit", "Name the last published release of this month as the one to correct.", 422
)
GridTooLarge: Final = _define(
    "grid_too_large", f"A release has at most {CELLS_MAX} cells; list fewer areas, of a higher level."
)
FiguresDisagree: Final = _define(
    "figures_disagree", "Tables that count the same events give different sums; rebuild the figures."
)
CorrectionWithheld: Final = _define(
    "correction_withheld",
    "No number moved far enough to be shown anew, or it would tell a hidden count; leave it as it is.",
)
"""One word for both: whoever asks again and again would see by the change when a hidden count moved."""
CivilSignature: Final = _define(
    "civil_signature", "A partner of civil society or of a women's movement signs a release.", 403
)
OwnRelease: Final = _define("own_release", "Let another partner sign than the one that asked for it.", 403)


class ReleaseRequest(ActBody):
    """The month to release, and the release that this one corrects."""

    period: Month
    corrects: JointReleaseId | None = None


class ReleaseTable(BaseModel):
    """One protected table: its codes make the grid, and every cell that is not listed is `<11`.

    A listed cell is its keys and then what is shown: a number rounded to five, `*` for at least eleven and
    hidden for another's sake, or `-` where nothing is said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    indicator: str
    version: int
    part: str
    dimensions: tuple[str, ...]
    codes: tuple[tuple[str, ...], ...]
    cells: Annotated[tuple[tuple[str, ...], ...], Field(max_length=CELLS_MAX)]

    def shown(self) -> dict[tuple[str, ...], str]:
        """What is shown of every cell, by its keys."""
        return {**dict.fromkeys(product(*self.codes), SMALL), **{one[:-1]: one[-1] for one in self.cells}}


class JointRelease(ReleaseRequest, Content):
    """The protected tables of a month, and who signed them."""

    kind: ClassVar[str] = "release"

    asked_at: Instant
    tables: tuple[ReleaseTable, ...]
    signed_by: AgencyId | None = None

    def shown(self) -> Shown:
        """What is shown of every cell of every table."""
        return {table.part: table.shown() for table in self.tables}


@condition(PeriodOpen)
def _is_frozen(scene: Scene, _: None, body: ReleaseRequest) -> None:
    """Facts may be told late; what is drawn before they are in would change by single ones."""
    if not timedelta() <= scene.at - frozen_at(scene, body.period) <= OLDEST:
        raise PeriodOpen


@condition(ReleasedAlready)
def _is_not_released(scene: Scene, _: None, body: ReleaseRequest) -> None:
    found = _releases(scene, body.period)
    states = {one.state for one in found}
    if any(one.state == "dropped" and one.made_by == scene.partner for one in found):
        raise ReleasedAlready  # or a few partners fill the table with drafts that they drop
    if "draft" in states or ("published" in states and body.corrects is None):
        raise ReleasedAlready


@condition(CorrectionUnfit)
def _corrects_the_last(scene: Scene, _: None, body: ReleaseRequest) -> None:
    published = [one.id for one in _releases(scene, body.period) if one.state == "published"]
    if body.corrects and [body.corrects] != published[-1:]:
        raise CorrectionUnfit


@condition(GridTooLarge, FiguresDisagree)
def _can_be_protected(scene: Scene, _: None, body: ReleaseRequest) -> None:
    tables = _counted(scene, body.period)
    if size(tables, _codes(scene)) > CELLS_MAX:
        raise GridTooLarge
    if not sums_agree(tables):
        raise FiguresDisagree


@condition(CorrectionWithheld)
def _tells_of_nobody(scene: Scene, _: None, body: ReleaseRequest) -> None:
    if body.corrects and (seen := _releases(scene, body.period)):
        shown, reveals = correct(_counted(scene, body.period), _codes(scene), seen[-1].content.shown())
        if reveals or shown == scene.register.find(JointRelease, body.corrects).content.shown():
            raise CorrectionWithheld


@condition(CivilSignature)
def _for_civil_society(scene: Scene, _: JointRelease, __: Nothing) -> None:
    if admitted(scene.register, scene.partner).constituency not in CIVIL:
        raise CivilSignature


@condition(OwnRelease)
def _by_another_partner(scene: Scene, _: JointRelease, __: Nothing) -> None:
    if scene.record and scene.record.made_by == scene.partner:
        raise OwnRelease


def _ask(scene: Scene, _: None, body: ReleaseRequest) -> Change:
    """Draw the figures of a month once: whoever asks again after a draft was dropped gets the same tables."""
    seen = [one.content for one in _releases(scene, body.period)]
    if seen and body.corrects is None:
        tables = seen[-1].tables
    else:
        counted, codes = _counted(scene, body.period), _codes(scene)
        old = seen[-1].shown() if seen else None
        shown = correct(counted, codes, old)[0] if old else protect(counted, codes)
        tables = tuple(
            _table(scene, part, shown[part.name])
            for indicator in scene.rules.indicators
            for part in indicator.parts
        )
    return Change(JointRelease(**dict(body), asked_at=scene.at, tables=tables))


def _sign(scene: Scene, content: JointRelease, _: Nothing) -> Change:
    signed = content.model_copy(update={"signed_by": scene.partner})
    told = signed.model_dump(include={"period", "corrects", "signed_by"})
    return Change(signed, (ReleasePublished(release=scene.act.id, **told),))


def frozen_at(scene: Scene, period: str) -> datetime:
    """From when on the figures of a month may be drawn."""
    return span_of(period, scene.rules.zone)[1] + scene.rules.freeze


def _releases(scene: Scene, period: str) -> list[GovernanceRecord[JointRelease]]:
    """Every release of this month that anybody has seen, a dropped one too, the last one last."""
    found = [one for one in scene.register.all(JointRelease) if one.content.period == period]
    return sorted(found, key=lambda one: one.content.asked_at)


def _counted(scene: Scene, month: str) -> list[CountTable]:
    """The exact counts of the month, table by table."""
    counts: dict[str, dict[tuple[str, ...], int]] = {}
    for figure in scene.rules.figures_of(month):
        counts.setdefault(figure.part, {})[figure.keys] = figure.count
    return [
        CountTable(part.name, part.dimensions, part.total, counts.get(part.name, {}))
        for indicator in scene.rules.indicators
        for part in indicator.parts
    ]


def _codes(scene: Scene) -> dict[str, tuple[str, ...]]:
    """The codes of every dimension, and of areas and agencies those that are there now."""
    agencies = (
        one.id for one in scene.register.all(Partner) if one.content.sector and one.state == "admitted"
    )
    areas = (one.code for one in scene.rules.areas)
    return {**CODES, AREA: (*areas, ELSEWHERE), "agency": (*agencies, UNKNOWN)}


def _table(scene: Scene, part: IndicatorPart, shown: Mapping[tuple[str, ...], str]) -> ReleaseTable:
    indicator = next(one for one in scene.rules.indicators if part in one.parts)
    return ReleaseTable(
        indicator=indicator.id,
        version=indicator.version,
        part=part.name,
        dimensions=part.dimensions,
        codes=tuple(tuple(sorted({keys[n] for keys in shown})) for n, _ in enumerate(part.dimensions)),
        cells=tuple(sorted((*keys, said) for keys, said in shown.items() if said != SMALL)),
    )


RELEASES: Final = LifeCycle(
    content=JointRelease,
    plural="releases",
    id_kind="joint_release",
    most=500,
    waits="draft",
    page=10,
    rows=(
        ActRow(NOTHING, "ask", "seat", "draft", ReleaseRequest, _ask,
            (_is_frozen, _is_not_released, _corrects_the_last, _can_be_protected, _tells_of_nobody),
            "Draw the figures of a month that is over, protected, for civil society to sign."),
        drop_row("draft", "seat"),
        ActRow("draft", "sign", "approver", "published", Nothing, _sign,
            (_for_civil_society, _by_another_partner),
            "Publish a release for good, for civil society or a women's movement."),
    ),
    example={"period": "2027-01"},
)  # fmt: skip
