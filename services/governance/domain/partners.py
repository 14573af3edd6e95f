"""Partners: who takes part, for whom they speak, where, and what they bring."""

from functools import partial
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from schemas.events.codes import Area
from schemas.events.governance import Sector
from schemas.events.partnership import CIVIL, Constituency, Currency, Level, PartnerAdmitted, PartnerLeft
from schemas.ids import AgencyId
from schemas.wire.body import Code, Count, listed
from services.governance.domain.areas import UnknownArea
from services.governance.domain.life_cycle import (
    FOUNDING,
    NOTHING,
    ActBody,
    ActRow,
    Change,
    Content,
    GovernanceRegister,
    LifeCycle,
    Nothing,
    Scene,
    UnknownReference,
    condition,
    drop_row,
)
from services.governance.domain.publications import IdTaken
from services.runtime.errors import define_refusal

EXPERTISE: Final = (
    "survivor_care", "law", "health", "policing", "education", "shelter", "gender_equality",
    "disability_inclusion", "community_mobilisation", "evaluation", "statistics", "languages",
)  # fmt: skip
OFFERS: Final = (
    "staff_time", "training", "counselling", "legal_advice", "interpretation", "shelter_places", "transport",
    "meeting_rooms", "funding",
)  # fmt: skip
UNITS: Final = ("hours_a_month", "places", "money_a_year")
STANDING: Final = ("constituted", "incomplete")
"""The states of a committee that has seats."""
WITH_SECTOR: Final = ("civil_society", "womens_movement", "government")
"""Who may answer referrals in a sector, besides sector agencies, who must."""

_define: Final = partial(define_refusal, __name__)

LoneAdmission: Final = _define(
    "lone_admission", "Let a second partner confirm: nobody admits a partner, or itself, alone."
)
SameConstituency: Final = _define(
    "same_constituency", "Let a partner of another constituency than the proposer's confirm."
)
CivilAdmitsItsOwn: Final = _define(
    "civil_admits_its_own",
    "Let civil society or a women's movement propose or confirm whoever is to speak for them.",
)
AnotherPartner: Final = _define("another_partner", "Each partner describes itself; ask the partner.", 403)
SectorUnfit: Final = _define(
    "sector_unfit",
    "A sector agency names its sector; government, civil society and women's movements may; others do not.",
    422,
)
StillSecretariat: Final = _define(
    "still_secretariat", "Hand over the secretariat of each of your committees first."
)
CurrencyUnfit: Final = _define(
    "currency_unfit", "Give a currency with money_a_year, and with nothing else.", 422
)


class Offer(ActBody):
    """What a partner brings: so much of something."""

    code: Annotated[Code, listed(OFFERS)]
    amount: Annotated[Count, Field(ge=1)]
    unit: Annotated[Code, listed(UNITS)]
    currency: Currency | None = None


class SeatEnd(ActBody):
    """A partner's seat in a committee ends."""

    partner: AgencyId
    reason: Literal["term_ended", "partner_left"]


class Means(ActBody):
    """A partner's expertise, resources and capacities."""

    expertise: tuple[Annotated[Code, listed(EXPERTISE)], ...] = Field(default=(), max_length=len(EXPERTISE))
    offers: tuple[Offer, ...] = Field(default=(), max_length=50)


class PartnerDescription(Means):
    """A partner as another one proposes it."""

    constituency: Constituency
    level: Level
    area: Area
    sector: Sector | None = None


class Partner(PartnerDescription, Content):
    """A partner, and who proposed it."""

    kind: ClassVar[str] = "partner"

    proposed_by: AgencyId | None = None

    @property
    def hours_a_month(self) -> int:
        """How much of its people's time it offers."""
        return sum(one.amount for one in self.offers if one.unit == "hours_a_month")


@condition(IdTaken, UnknownArea, SectorUnfit, CurrencyUnfit)
def _is_described(scene: Scene, _: Partner | None, body: PartnerDescription) -> None:
    if any(one.content.document.id == scene.act.id for one in scene.register.of("protocol")):
        raise IdTaken  # agencies and protocols are published under one kind of key
    scene.rules.areas.check(body.area)
    is_agency = body.constituency == "sector_agency"
    if is_agency != bool(body.sector) and not (body.sector and body.constituency in WITH_SECTOR):
        raise SectorUnfit
    _check_currencies(body)


@condition(CurrencyUnfit)
def _has_currencies(_: Scene, __: Partner, body: Means) -> None:
    _check_currencies(body)


@condition(LoneAdmission, SameConstituency, CivilAdmitsItsOwn)
def _is_of_another_constituency(scene: Scene, content: Partner, _: Nothing) -> None:
    if scene.partner in (content.proposed_by, scene.act.id):
        raise LoneAdmission
    proposer = scene.register.find(Partner, content.proposed_by)
    if scene.register.find(Partner, scene.partner).content.constituency == proposer.content.constituency:
        raise SameConstituency
    voices = {proposer.content.constituency, admitted(scene.register, scene.partner).constituency}
    admitted_now = (
        one.content.constituency for one in scene.register.all(Partner) if one.state == "admitted"
    )
    if content.constituency in CIVIL and not voices & CIVIL and CIVIL.intersection(admitted_now):
        raise CivilAdmitsItsOwn


@condition(AnotherPartner)
def _is_itself(scene: Scene, _: Partner, __: ActBody) -> None:
    if scene.partner != scene.act.id:
        raise AnotherPartner


@condition(StillSecretariat)
def _is_no_secretariat(scene: Scene, _: Partner, __: Nothing) -> None:
    committees = scene.register.of("committee")
    if any(one.state in STANDING and one.content.secretariat == scene.act.id for one in committees):
        raise StillSecretariat


def _propose(scene: Scene, _: Partner | None, body: PartnerDescription) -> Change:
    return Change(Partner(**dict(body), proposed_by=scene.partner or None))


def _admit(scene: Scene, content: Partner, _: Nothing) -> Change:
    return Change(content, (_admitted(scene.act.id, content),))


def _found(scene: Scene, _: None, body: PartnerDescription) -> Change:
    content = Partner(**dict(body))
    return Change(content, (_admitted(scene.act.id, content),))


def _amend(_: Scene, content: Partner, body: Means) -> Change:
    return Change(content.model_copy(update=dict(body)))


def _leave(scene: Scene, content: Partner, _: Nothing) -> Change:
    """Its seats stand empty from the same moment on."""
    body = SeatEnd(partner=scene.act.id, reason="partner_left")
    then = tuple(
        scene.follow("committee", one.id, "vacate", body)
        for one in scene.register.of("committee")
        if one.state in STANDING and any(seat.partner == body.partner for seat in one.content.seats)
    )
    fact = PartnerLeft(partner=scene.act.id, constituency=content.constituency, level=content.level)
    return Change(content, (fact,), then)


def admitted(register: GovernanceRegister, name: str) -> Partner:
    """A partner that takes part; raises UnknownReference."""
    found = register.find(Partner, name)
    if found.state != "admitted":
        raise UnknownReference
    return found.content


def _admitted(name: str, content: Partner) -> PartnerAdmitted:
    told = content.model_dump(include={"constituency", "level", "area", "sector"})
    return PartnerAdmitted(partner=name, **told)


def _check_currencies(body: Means) -> None:
    if any((one.unit == "money_a_year") != bool(one.currency) for one in body.offers):
        raise CurrencyUnfit


PARTNERS: Final = LifeCycle(
    content=Partner,
    plural="partners",
    id_kind="agency",
    most=5_000,
    waits="proposed",
    rows=(
        ActRow(f"{NOTHING} left dropped", "propose", "seat approver", "proposed", PartnerDescription,
            _propose, (_is_described,), "Propose a partner; one of another constituency confirms."),
        ActRow(NOTHING, "found", FOUNDING, "admitted", PartnerDescription, _found, (_is_described,)),
        ActRow("proposed", "confirm", "approver", "admitted", Nothing, _admit,
            (_is_of_another_constituency,), "Agree that a proposed partner takes part."),
        drop_row("proposed", "seat approver"),
        ActRow("admitted", "amend", "seat approver", "admitted", Means, _amend,
            (_is_itself, _has_currencies), "Say anew what your organisation brings."),
        ActRow("admitted", "leave", "approver", "left", Nothing, _leave,
            (_is_itself, _is_no_secretariat), "Take part no longer; your seats stand empty at once."),
    ),
    example={
        "constituency": "civil_society", "level": "district", "area": "ZZ0103", "sector": "civil_society",
        "expertise": ["survivor_care", "shelter"],
        "offers": [{"code": "shelter_places", "amount": 12, "unit": "places"}],
    },
)  # fmt: skip
