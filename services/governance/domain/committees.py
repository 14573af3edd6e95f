"""Committees: who sits in them, by which rule, and that a broken rule stops their decisions."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

from schemas.events.partnership import (
    LEVELS,
    CoChairs,
    CommitteeConstituted,
    CommitteeCurrent,
    CommitteeIncomplete,
    CommitteeSeat,
    SeatFilled,
    SeatLost,
)
from schemas.ids import AgencyId
from schemas.wire.body import Body, Instant
from services.governance.domain.areas import UnknownArea
from services.governance.domain.composition import (
    COMPOSITION,
    Committee,
    CommitteeProposal,
    broken_clause,
)
from services.governance.domain.life_cycle import (
    CLOCK,
    DECISION,
    FOUNDING,
    NOTHING,
    ActBody,
    ActRow,
    Adoption,
    Change,
    GovernanceRecord,
    GovernanceRegister,
    LifeCycle,
    Nothing,
    Scene,
    UnknownReference,
    condition,
    drop_row,
)
from services.governance.domain.partners import STANDING, SeatEnd, admitted
from services.runtime.errors import define_refusal

TERM_MAX: Final = timedelta(days=5 * 366)

_define: Final = partial(define_refusal, __name__)

SeatedTwice: Final = _define("seated_twice", "A partner holds one seat in a committee; name it once.", 422)
SeatMisnamed: Final = _define(
    "seat_misnamed", "A seat speaks for its partner's own constituency; name that one.", 422
)
TermOver: Final = _define("term_over", "A seat's term must end later than now, within five years.", 422)
NoEmptySeat: Final = _define(
    "no_empty_seat",
    "No seat of this partner's constituency stands empty; only a lost one is filled.",
)
AboveItself: Final = _define(
    "above_itself", "A committee stands below one of a wider level or area, never below itself.", 422
)
OutsideAbove: Final = _define("outside_above", "Its area must lie within that of the committee above.", 422)
NotSecretariat: Final = _define(
    "not_secretariat", "The committee's own secretariat does this; ask the partner that is it.", 403
)
NoSeat: Final = _define("no_seat", "Your organisation holds no seat in this committee.", 403)


class SeatProposal(ActBody):
    """Who takes an empty seat, until when, and who are co-chairs then."""

    partner: AgencyId
    until: Instant
    co_chairs: CoChairs | None = None


class Handover(ActBody):
    """Which partner is the committee's secretariat from now on."""

    secretariat: AgencyId


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
    committee = _meant(content, body)
    if refusal := broken_clause(committee, scene.register):
        raise refusal


@condition(UnknownArea, SeatedTwice, SeatMisnamed, TermOver)
def _is_well_seated(scene: Scene, content: Committee | None, body: ActBody) -> None:
    committee = _meant(content, body)
    scene.rules.areas.check(committee.area)
    admitted(scene.register, committee.secretariat)
    if len({seat.partner for seat in committee.seats}) != len(committee.seats):
        raise SeatedTwice
    for seat in committee.seats:
        if admitted(scene.register, seat.partner).constituency != seat.constituency:
            raise SeatMisnamed
        if not timedelta() < seat.until - scene.at <= TERM_MAX:
            raise TermOver


@condition(AboveItself, OutsideAbove, NotSecretariat)
def _stands_below(scene: Scene, _: None, body: CommitteeProposal) -> None:
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


@condition(SeatedTwice, NoEmptySeat, TermOver)
def _can_be_seated(scene: Scene, content: Committee, body: SeatProposal) -> None:
    constituency = admitted(scene.register, body.partner).constituency
    if content.seat_of(body.partner):
        raise SeatedTwice
    if constituency not in content.empty:
        raise NoEmptySeat
    if not timedelta() < body.until - scene.at <= TERM_MAX:
        raise TermOver


def _meant(content: Committee | None, body: ActBody) -> Committee:
    """The committee that an act makes, or the one that it is about."""
    return content or Committee(**dict(body))


def _propose(_: Scene, __: None, body: CommitteeProposal) -> Change:
    return Change(Committee(**dict(body)))


def _constitute(scene: Scene, content: Committee, _: ActBody) -> Change:
    return Change(content, (_constituted(scene, content),))


def _found(scene: Scene, _: None, body: CommitteeProposal) -> Change:
    content = Committee(**dict(body))
    return Change(content, (_constituted(scene, content),))


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
    empty = [*content.empty]
    if constituency in empty:
        empty.remove(constituency)
    seats = {"seats": (*content.seats, seat), "co_chairs": chairs, "empty": tuple(empty)}
    after = content.model_copy(update=seats)
    return _seated(scene, content, after, SeatFilled(**_place(scene, content), constituency=constituency))


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
    seats = tuple(seat for seat in content.seats if seat != lost)
    empty = (*content.empty, lost.constituency)
    after = content.model_copy(update={"seats": seats, "empty": empty})
    fact = SeatLost(**_place(scene, content), constituency=lost.constituency, reason=reason)
    return _seated(scene, content, after, fact)


def _seated(scene: Scene, before: Committee, after: Committee, fact: Body) -> Change:
    """What a committee is with other seats: constituted while they keep its rule, else incomplete."""
    was, broken = broken_clause(before, scene.register), broken_clause(after, scene.register)
    told: list[Body] = [fact]
    if broken and broken != was:
        told.append(CommitteeIncomplete(**_shape(scene, after), broken=broken.code))
    if was and not broken:
        told.append(_constituted(scene, after))
    return Change(after, tuple(told), state="incomplete" if broken else "constituted")


def _place(scene: Scene, content: Committee) -> dict[str, Any]:
    return {"committee": scene.act.id, "level": content.level, "area": content.area}


def _shape(scene: Scene, content: Committee) -> dict[str, Any]:
    shares = {"seats": content.by_constituency, "civil_share": content.civil_share}
    return _place(scene, content) | shares


def _constituted(scene: Scene, content: Committee) -> CommitteeConstituted:
    return CommitteeConstituted(**_shape(scene, content), kind=content.type, above=content.above)


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


_SEATED: Final = " ".join(STANDING)
COMMITTEES: Final = LifeCycle(
    content=Committee,
    plural="committees",
    id_kind="committee",
    most=2_000,
    waits="proposed",
    rows=(
        ActRow(NOTHING, "propose", "secretary", "proposed", CommitteeProposal, _propose,
            (_stands_below, _is_well_seated, _keeps_its_rule), "Propose a committee below your own."),
        ActRow(NOTHING, "found", FOUNDING, "constituted", CommitteeProposal, _found,
            (_is_well_seated, _keeps_its_rule)),
        drop_row("proposed", "secretary"),
        ActRow("proposed", "adopt", DECISION, "constituted", Adoption, _constitute,
            (_is_well_seated, _keeps_its_rule)),
        ActRow(_SEATED, "resign", "seat", "", Nothing, _resign,
            (_by_a_seat,), "Give up your organisation's seat."),
        ActRow(_SEATED, "vacate", DECISION, "", SeatEnd, _vacate),
        ActRow(_SEATED, "end_term", CLOCK, "", Nothing, _end_term),
        ActRow(_SEATED, "fill", "secretary", "", SeatProposal, _fill,
            (_by_secretariat, _can_be_seated), "Seat a partner; name the co-chairs anew if one is gone."),
        ActRow(_SEATED, "hand_over", "secretary", "", Handover, _hand_over,
            (_by_secretariat,), "Let another partner be the secretariat."),
    ),
    example={
        "type": "coordination", "level": "district", "area": "ZZ0103", "above": "cmt_steering",
        "secretariat": "river-alliance", "composition": {"constituencies": ["government", "civil_society"]},
        "quorum": {"share": 60, "constituencies": ["government"]},
        "co_chairs": ["ministry", "river-alliance"],
        "seats": [
            {"partner": "un-office", "constituency": "un", "until": "2028-11-30T00:00:00Z"},
            {"partner": "ministry", "constituency": "government", "until": "2028-11-30T00:00:00Z"},
            {"partner": "river-alliance", "constituency": "civil_society", "until": "2028-11-30T00:00:00Z"},
        ],
    },
    timer=_next_end,
    current=_current,
)  # fmt: skip
