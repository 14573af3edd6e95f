"""Meetings: when a committee sits, and who is there."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, ClassVar, Final

from pydantic import Field

from schemas.events.partnership import MeetingHeld
from schemas.ids import AgencyId, CommitteeId
from schemas.wire.body import Instant
from services.governance.domain.committees import (
    NoSeat,
    NotSecretariat,
    check_secretariat,
    held_seat,
    standing,
)
from services.governance.domain.composition import SEATS_MAX, Committee, quorum_fault, seats_by_constituency
from services.governance.domain.life_cycle import (
    CLOCK,
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
    unchanged,
)
from services.governance.domain.mandates import Backdated
from services.runtime.errors import define_refusal

LATE_BY: Final = timedelta(minutes=5)
EARLY_BY: Final = timedelta(hours=1)
AHEAD_MAX: Final = timedelta(days=400)
OVERRUN: Final = timedelta(hours=12)
"""How long after its end a meeting closes by itself."""
LONGEST: Final = timedelta(hours=24)

_define: Final = partial(define_refusal, __name__)

TooEarly: Final = _define("too_early", "A meeting opens at most an hour before the time it was called for.")
HoursUnfit: Final = _define(
    "hours_unfit", "A meeting ends after it begins, within a day, and is called at most 400 days ahead.", 422
)
SitsElsewhere: Final = _define(
    "sits_elsewhere", "The committee has another meeting at that time; move one of them."
)
AttendsAlready: Final = _define("attends_already", "Your organisation's seat is on the list of this meeting.")


class MeetingCall(ActBody):
    """Which committee meets, and when."""

    committee: CommitteeId
    begins_at: Instant
    ends_at: Instant


class Meeting(MeetingCall, Content):
    """A meeting, and the partners whose seats are there."""

    kind: ClassVar[str] = "meeting"

    present: Annotated[tuple[AgencyId, ...], Field(max_length=SEATS_MAX)] = ()


@condition(NotSecretariat)
def _by_its_secretariat(scene: Scene, content: Meeting | None, body: ActBody) -> None:
    call = body if isinstance(body, MeetingCall) else content
    check_secretariat(scene, standing(scene.register, call.committee if call else None))


@condition(Backdated, HoursUnfit, SitsElsewhere)
def _can_sit(scene: Scene, _: None, body: MeetingCall) -> None:
    if body.begins_at < scene.at - LATE_BY:
        raise Backdated
    if not timedelta() < body.ends_at - body.begins_at <= LONGEST or body.begins_at > scene.at + AHEAD_MAX:
        raise HoursUnfit
    for one in scene.register.all(Meeting):
        its = one.content
        if (
            its.committee == body.committee
            and one.state in ("called", "open")
            and its.begins_at < body.ends_at
            and body.begins_at < its.ends_at
        ):
            raise SitsElsewhere


@condition(TooEarly, SitsElsewhere)
def _is_time(scene: Scene, content: Meeting, _: Nothing) -> None:
    if scene.at < content.begins_at - EARLY_BY:
        raise TooEarly
    if any(
        one.state == "open" and one.content.committee == content.committee
        for one in scene.register.all(Meeting)
    ):
        raise SitsElsewhere


@condition(NoSeat, AttendsAlready)
def _has_a_seat(scene: Scene, content: Meeting, _: Nothing) -> None:
    held_seat(scene, standing(scene.register, content.committee))
    if scene.partner in content.present:
        raise AttendsAlready


def _call(_: Scene, __: None, body: MeetingCall) -> Change:
    return Change(Meeting(**dict(body)))


def _attend(scene: Scene, content: Meeting, _: Nothing) -> Change:
    return Change(content.model_copy(update={"present": (*content.present, scene.partner)}))


def _cancel(scene: Scene, content: Meeting, _: Nothing) -> Change:
    """What stood on its agenda waits for another meeting."""
    then = tuple(
        scene.follow("decision", one.id, "postpone", Nothing())
        for one in scene.register.of("decision")
        if one.state == "on_agenda" and one.content.meeting == scene.act.id
    )
    return Change(content, then=then)


def _close(scene: Scene, content: Meeting, _: Nothing) -> Change:
    waiting = _cancel(scene, content, _).then
    committee = scene.register.find(Committee, content.committee).content
    present = [seat for seat in committee.seats if seat.partner in content.present]
    decided = sum(
        one.content.meeting == scene.act.id and one.state in ("adopted", "rejected", "routed_up")
        for one in scene.register.of("decision")
    )
    fact = MeetingHeld(
        committee=content.committee,
        level=committee.level,
        area=committee.area,
        meeting=scene.act.id,
        present=seats_by_constituency(present),
        had_quorum=quorum_fault(committee, present) is None,
        decided=decided,
        postponed=len(waiting),
    )
    return Change(content, (fact,), waiting)


def _timer(record: GovernanceRecord[Meeting]) -> tuple[datetime, str] | None:
    """A list of those present is not kept open: it would decide without them, months later."""
    ends = record.content.ends_at + OVERRUN
    return {"called": (ends, "lapse"), "open": (ends, "end")}.get(record.state)


MEETINGS: Final = LifeCycle(
    content=Meeting,
    plural="meetings",
    id_kind="meeting",
    most=50_000,
    waits="called",
    rows=(
        ActRow(NOTHING, "call", "secretary", "called", MeetingCall, _call,
            (_by_its_secretariat, _can_sit), "Call a meeting of your committee."),
        ActRow("called", "open", "secretary", "open", Nothing, unchanged,
            (_by_its_secretariat, _is_time), "Open the meeting."),
        ActRow("called", "cancel", "secretary", "cancelled", Nothing, _cancel,
            (_by_its_secretariat,), "Call the meeting off; its items wait for another."),
        ActRow("open", "attend", "seat", "", Nothing, _attend,
            (_has_a_seat,), "Be on the list of those present."),
        ActRow("open", "close", "secretary", "held", Nothing, _close,
            (_by_its_secretariat,), "Close the meeting; what was not decided waits for another."),
        ActRow("called", "lapse", CLOCK, "cancelled", Nothing, _cancel),
        ActRow("open", "end", CLOCK, "held", Nothing, _close),
    ),
    example={
        "committee": "cmt_steering", "begins_at": "2027-02-10T09:00:00Z", "ends_at": "2027-02-10T11:00:00Z",
    },
    timer=_timer,
)  # fmt: skip
