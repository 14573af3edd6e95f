"""Mandates: what a committee may decide, where and how long, and what its work plan costs."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import partial
from typing import Annotated, ClassVar, Final

from pydantic import Field

from schemas.events.codes import Area
from schemas.events.partnership import (
    BudgetUsed,
    Currency,
    EffortLogged,
    MandateCurrent,
    MandateExpired,
    MandateExpiring,
    MandateGiven,
    Subject,
)
from schemas.ids import CommitteeId
from schemas.wire.body import COUNT_MAX, Code, Count, Instant
from services.governance.domain.areas import UnknownArea
from services.governance.domain.committees import (
    NoSeat,
    NotSecretariat,
    chain,
    check_secretariat,
    held_seat,
    standing,
)
from services.governance.domain.composition import Committee, share
from services.governance.domain.life_cycle import (
    CLOCK,
    DECISION,
    FOUNDING,
    NOTHING,
    ActBody,
    ActRow,
    Adoption,
    Change,
    Content,
    GovernanceRecord,
    GovernanceRegister,
    LifeCycle,
    Nothing,
    Scene,
    condition,
    drop_row,
)
from services.governance.domain.partners import admitted
from services.runtime.errors import define_refusal

WARNED_BEFORE: Final = (timedelta(days=60), timedelta(days=14))
"""How long before its end a mandate warns."""
THRESHOLD: Final = 80
"""Above so many per cent of what was offered or planned, hours and money warn."""
LOGGED_WITHIN: Final = timedelta(days=31)
YEARS_MAX: Final = timedelta(days=5 * 366)

_define: Final = partial(define_refusal, __name__)

CircularMandate: Final = _define(
    "circular_mandate",
    "A committee gets its mandate from the one above it, never from itself or from below.",
    422,
)
PowerNotHeld: Final = _define(
    "power_not_held", "The committee above can give only subjects and an area of its own live mandate.", 422
)
ValidityUnfit: Final = _define(
    "validity_unfit",
    "A mandate begins before it ends, ends later than now, and lasts at most five years.",
    422,
)
PlanUnfit: Final = _define("plan_unfit", "Name each year of the work plan once, within the validity.", 422)
Backdated: Final = _define(
    "backdated", "Give a time that is not past; effort is logged within a month, and never ahead.", 422
)
NoPlan: Final = _define("no_plan", "The mandate has no work plan for that year; money is used under one.")


class PlanLine(ActBody):
    """One activity of a work plan: its cost and its effort."""

    activity: Code
    amount: Count
    hours: Count


class WorkPlan(ActBody):
    """What a committee means to do in a year, and what that costs."""

    year: Annotated[int, Field(strict=True, ge=2020, le=2100)]
    currency: Currency
    lines: tuple[PlanLine, ...] = Field(min_length=1, max_length=50)

    @property
    def amount(self) -> int:
        """The money of the whole year."""
        return sum(line.amount for line in self.lines)


class MandateProposal(ActBody):
    """A mandate as it is proposed."""

    committee: CommitteeId
    given_by: CommitteeId | None = None
    subjects: tuple[Subject, ...] = Field(min_length=1, max_length=6)
    area: Area
    valid_from: Instant
    valid_until: Instant
    work_plans: tuple[WorkPlan, ...] = Field(default=(), max_length=6)


class Mandate(MandateProposal, Content):
    """A mandate, and what was given and spent under it."""

    kind: ClassVar[str] = "mandate"

    warned: Count = 0
    """How many of the warnings before its end were given."""
    hours: Mapping[str, Count] = {}
    """`partner month` → hours, for the last twelve months that anything was logged in."""
    money: Mapping[str, Count] = {}
    """Year → money used."""

    def covers(self, subject: str, area: str, scene: Scene) -> bool:
        """Whether a decision on this subject in this area lies within it."""
        return subject in self.subjects and scene.rules.areas.contains(self.area, area)


Entry = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
"""The partner's own number of an entry: a repeat is told from a second one like it."""


class Effort(ActBody):
    """Hours that the partner's people gave on a day."""

    entry: Entry
    on: date
    hours: Annotated[Count, Field(ge=1, le=500)]
    activity: Code


class Spending(ActBody):
    """Money that the partner spent for a year's work plan."""

    entry: Entry
    year: Annotated[int, Field(strict=True, ge=2020, le=2100)]
    amount: Annotated[Count, Field(ge=1)]
    activity: Code


def live_mandates(register: GovernanceRegister, committee: str, at: datetime) -> list[Mandate]:
    """What a committee may decide on now."""
    return [
        one.content
        for one in register.all(Mandate)
        if one.content.committee == committee
        and one.state == "live"
        and one.content.valid_from <= at < one.content.valid_until
    ]


@condition(UnknownArea, ValidityUnfit, PlanUnfit)
def _is_sound(scene: Scene, _: None, body: MandateProposal) -> None:
    scene.rules.areas.check(body.area)
    length = body.valid_until - body.valid_from
    if not timedelta() < length <= YEARS_MAX or body.valid_until <= scene.at:
        raise ValidityUnfit
    years = [plan.year for plan in body.work_plans]
    if len({*years}) != len(years) or any(
        not body.valid_from.year <= year <= body.valid_until.year for year in years
    ):
        raise PlanUnfit


@condition(CircularMandate, PowerNotHeld)
def _is_given_from_above(scene: Scene, content: Mandate | None, body: ActBody) -> None:
    proposal = body if isinstance(body, MandateProposal) else content
    if proposal is None:
        return
    giver, register = proposal.given_by or "", scene.register
    if giver == proposal.committee or proposal.committee in chain(register, giver):
        raise CircularMandate
    if register.find(Committee, proposal.committee).content.above != giver:
        raise CircularMandate
    held = live_mandates(register, giver, scene.at)
    if not all(any(one.covers(what, proposal.area, scene) for one in held) for what in proposal.subjects):
        raise PowerNotHeld


@condition(NotSecretariat)
def _by_givers_secretariat(scene: Scene, _: None, body: MandateProposal) -> None:
    check_secretariat(scene, standing(scene.register, body.given_by))


@condition(NoSeat)
def _by_its_seat(scene: Scene, content: Mandate, _: ActBody) -> None:
    held_seat(scene, standing(scene.register, content.committee))


@condition(Backdated)
def _is_recent(scene: Scene, _: Mandate, body: Effort) -> None:
    today = scene.at.date()
    if not today - LOGGED_WITHIN <= body.on <= today:
        raise Backdated


@condition(NoPlan)
def _is_planned(_: Scene, content: Mandate, body: Spending) -> None:
    if all(plan.year != body.year for plan in content.work_plans):
        raise NoPlan


def _propose(_: Scene, __: None, body: MandateProposal) -> Change:
    return Change(Mandate(**dict(body)))


def _found(scene: Scene, _: None, body: MandateProposal) -> Change:
    content = Mandate(**dict(body))
    return _give(scene, content, Nothing())


def _give(scene: Scene, content: Mandate, _: ActBody) -> Change:
    level = scene.register.find(Committee, content.committee).content.level
    told = content.model_dump(include={"committee", "given_by", "subjects", "area", "valid_until"})
    return Change(content, (MandateGiven(mandate=scene.act.id, level=level, **told),))


def _warn(scene: Scene, content: Mandate, _: Nothing) -> Change:
    left = content.valid_until - scene.at
    fact = MandateExpiring(
        mandate=scene.act.id, committee=content.committee, days_left=scene.days_until(content.valid_until)
    )
    return Change(content.model_copy(update={"warned": sum(left <= one for one in WARNED_BEFORE)}), (fact,))


def _expire(scene: Scene, content: Mandate, _: Nothing) -> Change:
    return Change(content, (MandateExpired(mandate=scene.act.id, committee=content.committee),))


def _log_effort(scene: Scene, content: Mandate, body: Effort) -> Change:
    """Count hours for the month, and warn above four fifths of what the partner offers a month."""
    partner, month = admitted(scene.register, scene.partner), body.on.isoformat()[:7]
    key = f"{scene.partner} {month}"
    months = sorted({one.partition(" ")[2] for one in (*content.hours, key)})[-12:]
    hours = {name: spent for name, spent in content.hours.items() if name.partition(" ")[2] in months}
    hours[key] = min(hours.get(key, 0) + body.hours, COUNT_MAX)
    fact = EffortLogged(
        partner=scene.partner,
        constituency=partner.constituency,
        mandate=scene.act.id,
        month=month,
        hours=body.hours,
        hours_in_month=hours[key],
        is_above=hours[key] * 100 > THRESHOLD * partner.hours_a_month,
    )
    return Change(content.model_copy(update={"hours": hours}), (fact,))


def _use_budget(scene: Scene, content: Mandate, body: Spending) -> Change:
    """Count money for the year, and warn above four fifths of the plan."""
    plan = next(one for one in content.work_plans if one.year == body.year)
    used = min(content.money.get(str(body.year), 0) + body.amount, COUNT_MAX)
    fact = BudgetUsed(
        partner=scene.partner,
        constituency=admitted(scene.register, scene.partner).constituency,
        mandate=scene.act.id,
        year=body.year,
        amount=body.amount,
        currency=plan.currency,
        used_of_plan=min(share(used, plan.amount), 1_000),
        is_above=used * 100 > THRESHOLD * plan.amount,
    )
    return Change(content.model_copy(update={"money": {**content.money, str(body.year): used}}), (fact,))


def _timer(record: GovernanceRecord[Mandate]) -> tuple[datetime, str] | None:
    if record.state != "live":
        return None
    its = record.content
    if its.warned < len(WARNED_BEFORE):
        return its.valid_until - WARNED_BEFORE[its.warned], "warn"
    return its.valid_until, "expire"


def _current(record: GovernanceRecord[Mandate]) -> MandateCurrent | None:
    if record.state not in ("live", "expired"):
        return None
    told = record.content.model_dump(exclude={"work_plans", "warned", "hours", "money"})
    return MandateCurrent(mandate=record.id, version=record.version, status=record.state, **told)


MANDATES: Final = LifeCycle(
    content=Mandate,
    plural="mandates",
    id_kind="mandate",
    most=5_000,
    waits="proposed",
    rows=(
        ActRow(NOTHING, "propose", "secretary", "proposed", MandateProposal, _propose,
            (_by_givers_secretariat, _is_sound, _is_given_from_above), "Propose a mandate for one below."),
        ActRow(NOTHING, "found", FOUNDING, "live", MandateProposal, _found, (_is_sound,)),
        drop_row("proposed", "secretary"),
        ActRow("proposed", "adopt", DECISION, "live", Adoption, _give, (_is_given_from_above,)),
        ActRow("live", "warn", CLOCK, "", Nothing, _warn),
        ActRow("live", "expire", CLOCK, "expired", Nothing, _expire),
        ActRow("live", "log_effort", "seat", "", Effort, _log_effort,
            (_by_its_seat, _is_recent), "Count hours that your people gave.", once=True),
        ActRow("live", "use_budget", "seat", "", Spending, _use_budget,
            (_by_its_seat, _is_planned), "Count money that your organisation spent.", once=True),
    ),
    example={
        "committee": "cmt_north", "given_by": "cmt_steering", "subjects": ["protocol", "work_plan"],
        "area": "ZZ0103", "valid_from": "2026-12-01T00:00:00Z", "valid_until": "2027-11-30T00:00:00Z",
        "work_plans": [{
            "year": 2027, "currency": "XTS",
            "lines": [{"activity": "joint_training", "amount": 12000, "hours": 160}],
        }],
    },
    timer=_timer,
    current=_current,
)  # fmt: skip
