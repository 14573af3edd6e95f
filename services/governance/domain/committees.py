"""Committees: who sits in them, by which rule, and that a broken rule stops their decisions."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import Field

from schemas.events.codes import Area
from schemas.events.governance import Sector
from schemas.events.partnership import (
    CIVIL,
    LEVELS,
    CoChairs,
    CommitteeConstituted,
    CommitteeCurrent,
    CommitteeIncomplete,
    CommitteeSeat,
    CommitteeType,
    Constituency,
    Level,
    SeatFilled,
    SeatLost,
    Seats,
)
from schemas.ids import AgencyId, CommitteeId
from schemas.wire.body import Body, Instant
from services.governance.domain.areas import UnknownArea
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
    UnknownReference,
    condition,
)
from services.governance.domain.partners import STANDING, SeatEnd, admitted
from services.runtime.errors import Refused, define_refusal

SEATS_MAX: Final = 60

_define: Final = partial(define_refusal, __name__)

TooFewSeats: Final = _define("too_few_seats", "The composition rule asks for more seats.", 422)
ConstituencyMissing: Final = _define(
    "constituency_missing", "Seat each constituency that the composition rule names.", 422
)
CivilShareBelow: Final = _define(
    "civil_share_below",
    "Give civil society and women's movements the share of seats that the rule names.",
    422,
)
SectorMissing: Final = _define("sector_missing", "Seat a partner of each sector that has to join.", 422)
CoChairsAlike: Final = _define(
    "co_chairs_alike", "Let two seated partners of different constituencies be co-chairs.", 422
)
SeatedTwice: Final = _define("seated_twice", "A partner holds one seat in a committee; name it once.", 422)
SeatMisnamed: Final = _define(
    "seat_misnamed", "A seat speaks for its partner's own constituency; name that one.", 422
)
TermOver: Final = _define("term_over", "A seat's term must end later than now.", 422)
AboveItself: Final = _define(
    "above_itself", "A committee stands below one of a wider level or area, never below itself.", 422
)
OutsideAbove: Final = _define("outside_above", "Its area must lie within that of the committee above.", 422)
QuorumMissing: Final = _define("quorum_missing", "Too few seats are present and free to decide; meet again.")
QuorumWithoutConstituency: Final = _define(
    "quorum_without_constituency", "Civil society, or a constituency that the quorum names, is not present."
)
NotSecretariat: Final = _define(
    "not_secretariat", "The committee's own secretariat does this; ask the partner that is it.", 403
)
NoSeat: Final = _define("no_seat", "Your organisation holds no seat in this committee.", 403)


class Composition(ActBody):
    """Which constituencies and sectors a committee seats, how many, and civil society's share."""

    constituencies: tuple[Constituency, ...] = Field(min_length=1, max_length=9)
    seats_least: Annotated[int, Field(strict=True, ge=3, le=SEATS_MAX)] = 3
    civil_share_least: Annotated[int, Field(strict=True, ge=20, le=100)] = 20
    """Civil society and women's movements together, per cent; no rule goes below a fifth."""
    sectors: tuple[Sector, ...] = Field(default=(), max_length=20)


class Quorum(ActBody):
    """How many seats must be present, and which constituencies."""

    share: Annotated[int, Field(strict=True, ge=50, le=100)] = 50
    constituencies: tuple[Constituency, ...] = Field(default=(), max_length=9)


class Committee(Content):
    """A committee as it is proposed, and as it stands."""

    kind: ClassVar[str] = "committee"

    type: CommitteeType
    level: Level
    area: Area
    above: CommitteeId | None = None
    secretariat: AgencyId
    composition: Composition
    quorum: Quorum = Quorum()
    seats: tuple[CommitteeSeat, ...] = Field(max_length=SEATS_MAX)
    co_chairs: CoChairs

    def seat_of(self, partner: str) -> CommitteeSeat | None:
        """The seat that a partner holds."""
        return next((seat for seat in self.seats if seat.partner == partner), None)

    @property
    def by_constituency(self) -> Seats:
        """How many seats each constituency holds."""
        return seats_by_constituency(self.seats)

    @property
    def civil_share(self) -> int:
        """Civil society's and women's movements' seats, per cent."""
        return share(sum(seat.constituency in CIVIL for seat in self.seats), len(self.seats))


class SeatProposal(ActBody):
    """Who takes an empty seat, until when, and who are co-chairs then."""

    partner: AgencyId
    until: Instant
    co_chairs: CoChairs | None = None


class Handover(ActBody):
    """Which partner is the committee's secretariat from now on."""

    secretariat: AgencyId


class Clause(NamedTuple):
    """One clause of a composition rule, and when it is kept."""

    refusal: type[Refused]
    is_kept: Callable[[Committee, GovernanceRegister], bool]


def _seats_sectors(content: Committee, register: GovernanceRegister) -> bool:
    seated = {admitted(register, seat.partner).sector for seat in content.seats}
    return seated >= set(content.composition.sectors)


def _chairs_differ(content: Committee, _: GovernanceRegister) -> bool:
    chairs = [content.seat_of(one) for one in content.co_chairs]
    return len({seat.constituency for seat in chairs if seat}) == len(chairs)


COMPOSITION: Final = (
    Clause(TooFewSeats, lambda its, _: len(its.seats) >= its.composition.seats_least),
    Clause(ConstituencyMissing, lambda its, _: {*its.composition.constituencies} <= {*its.by_constituency}),
    Clause(CivilShareBelow, lambda its, _: its.civil_share >= its.composition.civil_share_least),
    Clause(SectorMissing, _seats_sectors),
    Clause(CoChairsAlike, _chairs_differ),
)
"""What a committee's seats must keep, at its constitution and at each decision."""


def broken_clause(content: Committee, register: GovernanceRegister) -> type[Refused] | None:
    """The first clause that the seats do not keep."""
    return next((one.refusal for one in COMPOSITION if not one.is_kept(content, register)), None)


def seats_by_constituency(seats: Iterable[CommitteeSeat]) -> Seats:
    """Constituency → how many of these seats."""
    return Counter(seat.constituency for seat in seats)


def quorum_fault(content: Committee, present: Sequence[CommitteeSeat]) -> type[Refused] | None:
    """Why these seats are no quorum; without civil society nobody is one."""
    there = {seat.constituency for seat in present}
    if not there & CIVIL or not there >= set(content.quorum.constituencies):
        return QuorumWithoutConstituency
    return QuorumMissing if share(len(present), len(content.seats)) < content.quorum.share else None


def share(part: int, whole: int) -> int:
    """Per cent, rounded down: a rule is never met by rounding."""
    return part * 100 // whole if whole else 0


def standing(register: GovernanceRegister, name: str | None) -> Committee:
    """A committee that has seats; raises UnknownReference."""
    found = register.find(Committee, name)
    if found.state not in STANDING:
        raise UnknownReference
    return found.content


def check_secretariat(scene: Scene, committee: Committee) -> None:
    """Refuse whoever is not the committee's own secretariat."""
    if scene.partner != committee.secretariat:
        raise NotSecretariat


def held_seat(scene: Scene, committee: Committee) -> CommitteeSeat:
    """The seat of whoever acts; raises NoSeat."""
    if seat := committee.seat_of(scene.partner):
        return seat
    raise NoSeat


def chain(register: GovernanceRegister, name: str | None) -> list[str]:
    """A committee and all above it, the lowest first."""
    found: list[str] = []
    while name and name not in found:
        found.append(name)
        name = register.find(Committee, name).content.above
    return found


@condition(*(one.refusal for one in COMPOSITION))
def _keeps_its_rule(scene: Scene, content: Committee | None, body: ActBody) -> None:
    committee = body if isinstance(body, Committee) else content
    if committee and (refusal := broken_clause(committee, scene.register)):
        raise refusal


@condition(UnknownArea, SeatedTwice, SeatMisnamed, TermOver)
def _is_well_seated(scene: Scene, _: Committee | None, body: Committee) -> None:
    scene.rules.areas.check(body.area)
    admitted(scene.register, body.secretariat)
    if len({seat.partner for seat in body.seats}) != len(body.seats):
        raise SeatedTwice
    for seat in body.seats:
        if admitted(scene.register, seat.partner).constituency != seat.constituency:
            raise SeatMisnamed
        if seat.until <= scene.at:
            raise TermOver


@condition(AboveItself, OutsideAbove, NotSecretariat)
def _stands_below(scene: Scene, _: None, body: Committee) -> None:
    if body.above == scene.act.id:
        raise AboveItself
    above = standing(scene.register, body.above)
    check_secretariat(scene, above)
    if not scene.rules.areas.contains(above.area, body.area):
        raise OutsideAbove
    wider, own = LEVELS.index(above.level), LEVELS.index(body.level)
    if wider > own or (wider == own and above.area == body.area and above.type == body.type):
        raise AboveItself


@condition(NotSecretariat)
def _by_secretariat(scene: Scene, content: Committee, _: ActBody) -> None:
    check_secretariat(scene, content)


@condition(NoSeat)
def _by_a_seat(scene: Scene, content: Committee, _: ActBody) -> None:
    held_seat(scene, content)


@condition(SeatedTwice, TermOver)
def _can_be_seated(scene: Scene, content: Committee, body: SeatProposal) -> None:
    admitted(scene.register, body.partner)
    if content.seat_of(body.partner) or len(content.seats) >= SEATS_MAX:
        raise SeatedTwice
    if body.until <= scene.at:
        raise TermOver


def _propose(_: Scene, __: None, body: Committee) -> Change:
    return Change(body)


def _constitute(scene: Scene, content: Committee, _: ActBody) -> Change:
    return Change(content, (_constituted(scene, content),))


def _found(scene: Scene, _: None, body: Committee) -> Change:
    return Change(body, (_constituted(scene, body),))


def _resign(scene: Scene, content: Committee, _: Nothing) -> Change:
    return _without(scene, content, scene.partner, "resigned")


def _vacate(scene: Scene, content: Committee, body: SeatEnd) -> Change:
    return _without(scene, content, body.partner, body.reason)


def _end_term(scene: Scene, content: Committee, _: Nothing) -> Change:
    return _without(scene, content, min(content.seats, key=lambda seat: seat.until).partner, "term_ended")


def _fill(scene: Scene, content: Committee, body: SeatProposal) -> Change:
    constituency = admitted(scene.register, body.partner).constituency
    seat = CommitteeSeat(partner=body.partner, constituency=constituency, until=body.until)
    chairs = body.co_chairs or content.co_chairs
    after = content.model_copy(update={"seats": (*content.seats, seat), "co_chairs": chairs})
    place = {"committee": scene.act.id, "level": content.level, "area": content.area}
    return _seated(scene, content, after, SeatFilled(**place, constituency=constituency))


def _hand_over(scene: Scene, content: Committee, body: Handover) -> Change:
    admitted(scene.register, body.secretariat)
    return Change(content.model_copy(update=dict(body)))


def _without(
    scene: Scene,
    content: Committee,
    partner: str,
    reason: Literal["resigned", "term_ended", "partner_left"],
) -> Change:
    lost = content.seat_of(partner)
    if lost is None:
        raise NoSeat
    after = content.model_copy(update={"seats": tuple(seat for seat in content.seats if seat != lost)})
    place = {"committee": scene.act.id, "level": content.level, "area": content.area}
    fact = SeatLost(**place, constituency=lost.constituency, reason=reason)
    return _seated(scene, content, after, fact)


def _seated(scene: Scene, before: Committee, after: Committee, fact: Body) -> Change:
    """What a committee is with other seats: constituted while they keep its rule, else incomplete."""
    was, broken = broken_clause(before, scene.register), broken_clause(after, scene.register)
    told: list[Body] = [fact]
    if broken and broken != was:
        told.append(CommitteeIncomplete(**_place(scene, after), broken=broken.code))
    if was and not broken:
        told.append(_constituted(scene, after))
    return Change(after, tuple(told), state="incomplete" if broken else "constituted")


def _place(scene: Scene, content: Committee) -> dict[str, Any]:
    return {
        "committee": scene.act.id,
        "level": content.level,
        "area": content.area,
        "seats": content.by_constituency,
        "civil_share": content.civil_share,
    }


def _constituted(scene: Scene, content: Committee) -> CommitteeConstituted:
    return CommitteeConstituted(**_place(scene, content), kind=content.type, above=content.above)


def _current(record: GovernanceRecord[Committee]) -> CommitteeCurrent | None:
    if record.state not in STANDING:
        return None
    its = record.content
    told = its.model_dump(include={"level", "area", "above", "seats", "co_chairs"})
    return CommitteeCurrent(
        committee=record.id, version=record.version, status=record.state, kind=its.type, **told
    )


def _next_end(record: GovernanceRecord[Committee]) -> tuple[datetime, str] | None:
    if record.state not in STANDING or not record.content.seats:
        return None
    return min(seat.until for seat in record.content.seats), "end_term"


_SEATED: Final = "constituted incomplete"
COMMITTEES: Final = LifeCycle(
    content=Committee,
    plural="committees",
    id_kind="committee",
    most=2_000,
    rows=(
        ActRow(NOTHING, "propose", "secretary", "proposed", Committee, _propose,
            (_stands_below, _is_well_seated, _keeps_its_rule), "Propose a committee below your own."),
        ActRow(NOTHING, "found", FOUNDING, "constituted", Committee, _found,
            (_is_well_seated, _keeps_its_rule)),
        ActRow("proposed", "adopt", DECISION, "constituted", Adoption, _constitute, (_keeps_its_rule,)),
        ActRow(_SEATED, "resign", "seat", "", Nothing, _resign,
            (_by_a_seat,), "Give up your organisation's seat."),
        ActRow(_SEATED, "vacate", DECISION, "", SeatEnd, _vacate),
        ActRow(_SEATED, "end_term", CLOCK, "", Nothing, _end_term),
        ActRow(_SEATED, "fill", "secretary", "", SeatProposal, _fill,
            (_by_secretariat, _can_be_seated), "Seat a partner; name the co-chairs anew if one is gone."),
        ActRow(_SEATED, "hand_over", "secretary", "", Handover, _hand_over,
            (_by_secretariat,), "Let another partner be the secretariat."),
    ),
    timer=_next_end,
    current=_current,
)  # fmt: skip
