"""Decisions: an item of a committee's agenda, from the seat that tabled it to what was decided."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from schemas.events.codes import Area
from schemas.events.partnership import (
    CommitteeSeat,
    Constituency,
    DecisionRoutedUp,
    DecisionTabled,
    DecisionTaken,
    Phase,
    Subject,
)
from schemas.ids import AgencyId, CommitteeId, DecisionId, MeetingId, derive
from services.governance.domain.areas import UnknownArea
from services.governance.domain.committees import (
    NoSeat,
    NotSecretariat,
    SeatedTwice,
    SeatMisnamed,
    TermOver,
    check_secretariat,
    held_seat,
    standing,
)
from services.governance.domain.composition import (
    COMPOSITION,
    SEATS_MAX,
    Committee,
    QuorumMissing,
    QuorumWithoutConstituency,
    broken_clause,
    quorum_fault,
)
from services.governance.domain.life_cycle import (
    DECISION,
    NOTHING,
    ActBody,
    ActRow,
    Adoption,
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
from services.governance.domain.mandates import CircularMandate, Mandate, PowerNotHeld, live_mandates
from services.governance.domain.meetings import Meeting
from services.governance.domain.partners import Partner
from services.governance.domain.protocols import LIVE, SharingVersion, versions
from services.governance.domain.titles import Title, TitleNamesSomebody, check_title
from services.runtime.errors import define_refusal

ABOUT: Final[Mapping[str, tuple[str, str]]] = {
    "cmt_": ("committee", "admission"),
    "mdt_": ("mandate", "admission"),
    "": ("protocol", "protocol"),
}
"""The beginning of an id → the kind of thing that a decision adopts, and under which subject."""
WAITS: Final = {"committee": "proposed", "mandate": "proposed", "protocol": "draft"}
"""The state in which a thing waits for a decision."""

_define: Final = partial(define_refusal, __name__)

SubjectUnfit: Final = _define(
    "subject_unfit", "Committees and mandates are adopted under admission, protocols under protocol.", 422
)
OthersToDecide: Final = _define(
    "others_to_decide", "It was proposed below another committee; table it there.", 422
)
AreaTooNarrow: Final = _define(
    "area_too_narrow",
    "Name an area in which all of it lies: a protocol's parties, a body, a mandate.",
    422,
)
MeetingUnfit: Final = _define(
    "meeting_unfit", "Name a meeting of this committee that was called or is open.", 422
)
MeetingNotOpen: Final = _define("meeting_not_open", "This is done while the item's meeting is open.")
NotPresent: Final = _define("not_present", "Attend the meeting first.", 403)
NotYourSeat: Final = _define("not_your_seat", "Each seat votes for itself; name your own organisation.", 403)
MemberRecused: Final = _define(
    "member_recused", "Your seat stepped back from this item and decides nothing of it."
)
VotedAlready: Final = _define("voted_already", "Your seat has voted; a vote is given once and stays.")
NoLiveMandate: Final = _define(
    "no_live_mandate", "The committee holds no mandate that is live now; let the committee above give one."
)
AboveEveryMandate: Final = _define(
    "above_every_mandate", "It lies above the committee's mandate, and no committee stands above this one."
)
NoConsensus: Final = _define("no_consensus", "Somebody voted against; let the item be decided by vote.")
NotEnoughVotes: Final = _define(
    "not_enough_votes", "Fewer seats have voted than make a quorum; let the others vote, abstaining counts."
)


class AgendaItem(ActBody):
    """What is to be decided, by which committee, and which thing it adopts."""

    committee: CommitteeId
    meeting: MeetingId | None = None
    title: Title
    subject: Subject
    area: Area
    phase: Phase | None = None
    """Of the programming cycle, where the item belongs to one."""
    about: Annotated[str, Field(max_length=40)] | None = None
    """The id of the proposed committee or mandate, or of a protocol's drafted version."""


class Vote(ActBody):
    """One seat's vote."""

    seat: AgencyId
    choice: Literal["for", "against", "abstain"]


class Taking(ActBody):
    """How the committee decides."""

    method: Literal["consensus", "vote"]


class Schedule(ActBody):
    """The meeting that takes the item up."""

    meeting: MeetingId


class Decision(AgendaItem, Content):
    """An item of an agenda, and what was said of it."""

    kind: ClassVar[str] = "decision"
    hidden: ClassVar[frozenset[str]] = frozenset({"votes"})

    tabled_by: AgencyId
    constituency: Constituency
    recused: Annotated[tuple[AgencyId, ...], Field(max_length=SEATS_MAX)] = ()
    votes: Mapping[AgencyId, Literal["for", "against", "abstain"]] = {}
    routed_from: DecisionId | None = None


def thing_of(content: AgendaItem) -> tuple[str, str] | None:
    """Kind and id of what the decision adopts; raises SubjectUnfit where the subject does not fit it."""
    if content.about is None:
        return None
    kind, subject = next(row for prefix, row in ABOUT.items() if content.about.startswith(prefix))
    if subject != content.subject:
        raise SubjectUnfit
    return kind, content.about


@condition(NoSeat, TitleNamesSomebody, UnknownArea, SubjectUnfit, OthersToDecide, AreaTooNarrow, MeetingUnfit)
def _is_an_item(scene: Scene, _: None, body: AgendaItem) -> None:
    held_seat(scene, standing(scene.register, body.committee))
    check_title(body.title)
    scene.rules.areas.check(body.area)
    if thing := thing_of(body):
        found = scene.register.get(*thing)
        if found is None or found.state != WAITS[thing[0]]:
            raise UnknownReference
        if _giver_of(found.content) not in (None, body.committee):
            raise OthersToDecide
        _check_reach(scene, body.area, found.content)
    if body.meeting:
        _check_meeting(scene, body.committee, body.meeting)


@condition(MeetingUnfit, NotSecretariat)
def _can_be_scheduled(scene: Scene, content: Decision, body: Schedule) -> None:
    check_secretariat(scene, standing(scene.register, content.committee))
    _check_meeting(scene, content.committee, body.meeting)


@condition(MeetingNotOpen, NoSeat, NotPresent, MemberRecused, VotedAlready)
def _may_speak(scene: Scene, content: Decision, _: ActBody) -> None:
    meeting = _open_meeting(scene, content)
    held_seat(scene, standing(scene.register, content.committee))
    if scene.partner not in meeting.present:
        raise NotPresent
    if scene.partner in content.recused:
        raise MemberRecused
    if scene.partner in content.votes:
        raise VotedAlready


@condition(NotYourSeat)
def _is_own_seat(scene: Scene, _: Decision, body: Vote) -> None:
    if body.seat != scene.partner:
        raise NotYourSeat


BARS: Final = (
    MeetingNotOpen, NotSecretariat, *(one.refusal for one in COMPOSITION), QuorumMissing,
    QuorumWithoutConstituency, NoLiveMandate, NoConsensus, NotEnoughVotes, AboveEveryMandate, PowerNotHeld,
    CircularMandate, SeatMisnamed, SeatedTwice, TermOver, UnknownArea,
    AreaTooNarrow,
)  # fmt: skip
"""What can stand between an item and its decision."""


@condition(*BARS)
def _can_be_taken(scene: Scene, content: Decision, body: Taking) -> None:
    """Composition, quorum and mandate; then that enough seats spoke, and for consensus none against."""
    committee = standing(scene.register, content.committee)
    check_secretariat(scene, committee)
    free = _free_seats(_open_meeting(scene, content), committee, content)
    if refusal := broken_clause(committee, scene.register) or quorum_fault(committee, free):
        raise refusal
    if not live_mandates(scene.register, content.committee, scene.at):
        raise NoLiveMandate
    thing = thing_of(content)
    if thing and (found := scene.register.get(*thing)):
        _check_reach(scene, content.area, found.content)  # what it replaces may have come since it was tabled
    choices = _choices(content, free)
    if body.method == "consensus" and "against" in choices:
        raise NoConsensus
    if quorum_fault(committee, [one for one in free if one.partner in content.votes]):
        raise NotEnoughVotes


def _table(scene: Scene, _: None, body: AgendaItem) -> Change:
    """Tell who tabled it: what is never decided counts too where it is asked whose proposals pass."""
    committee = standing(scene.register, body.committee)
    seat = held_seat(scene, committee)
    content = Decision(**dict(body), tabled_by=scene.partner, constituency=seat.constituency)
    fact = DecisionTabled(**_about(scene, content, committee), tabled_by=seat.constituency)
    return Change(content, (fact,), state="on_agenda" if body.meeting else "tabled")


def _route(_: Scene, __: None, body: Decision) -> Change:
    return Change(body)


def _schedule(_: Scene, content: Decision, body: Schedule) -> Change:
    return Change(content.model_copy(update={"meeting": body.meeting}))


def _postpone(_: Scene, content: Decision, __: Nothing) -> Change:
    """Votes and recusals of a meeting end with it."""
    return Change(content.model_copy(update={"meeting": None, "votes": {}, "recused": ()}))


def _recuse(scene: Scene, content: Decision, _: Nothing) -> Change:
    return Change(content.model_copy(update={"recused": (*content.recused, scene.partner)}))


def _vote(scene: Scene, content: Decision, body: Vote) -> Change:
    return Change(content.model_copy(update={"votes": {**content.votes, scene.partner: body.choice}}))


def _take(scene: Scene, content: Decision, body: Taking) -> Change:
    """Decide; what no mandate of the committee covers becomes an item of the committee above."""
    committee = standing(scene.register, content.committee)
    mandates = live_mandates(scene.register, content.committee, scene.at)
    if not any(one.covers(content.subject, content.area, scene) for one in mandates):
        return _route_up(scene, content, committee)
    choices = _choices(content, _free_seats(_open_meeting(scene, content), committee, content))
    is_adopted = body.method == "consensus" or choices.count("for") > choices.count("against")
    fact = DecisionTaken(
        **_about(scene, content, committee),
        meeting=content.meeting or "",
        tabled_by=content.constituency,
        outcome="adopted" if is_adopted else "rejected",
        method=body.method,
        votes_for=choices.count("for"),
        dissent=choices.count("against"),
        abstained=choices.count("abstain"),
        recused=len(content.recused),
    )
    thing = thing_of(content)
    then = (scene.follow(*thing, "adopt", Adoption(decision=scene.act.id)),) if thing and is_adopted else ()
    return Change(content, (fact,), then, state=fact.outcome)


def _route_up(scene: Scene, content: Decision, committee: Committee) -> Change:
    if committee.above is None:
        raise AboveEveryMandate
    routed = next(one for one in _derived(scene.act.id) if not scene.register.get("decision", one))
    item = content.model_copy(
        update={"committee": committee.above, "meeting": None, "votes": {}, "recused": ()}
        | {"routed_from": scene.act.id}
    )
    fact = DecisionRoutedUp(**_about(scene, content, committee), to=committee.above, as_decision=routed)
    return Change(content, (fact,), (scene.follow("decision", routed, "route", item),), state="routed_up")


def _about(scene: Scene, content: Decision, committee: Committee) -> dict[str, Any]:
    """What every fact about an item says."""
    place = {"committee": content.committee, "level": committee.level, "area": content.area}
    return {**place, "decision": scene.act.id, "subject": content.subject, "phase": content.phase}


def _check_reach(scene: Scene, area: str, thing: Content) -> None:
    """Refuse to adopt in an area what reaches beyond it; a protocol reaches whom it replaces too."""
    match thing:
        case Committee(area=own) | Mandate(area=own):
            reached = [own]
        case SharingVersion(document=document):
            parties = {
                *document.parties,
                *(
                    party
                    for one in versions(scene.register, document.id)
                    if one.state in LIVE
                    for party in one.content.document.parties
                ),
            }
            reached = [scene.register.find(Partner, party).content.area for party in parties]
        case _:
            raise UnknownReference
    if not all(scene.rules.areas.contains(area, one) for one in reached):
        raise AreaTooNarrow


def _giver_of(thing: Content) -> str | None:
    """The committee below which something was proposed, where it says one."""
    match thing:
        case Committee(above=giver) | Mandate(given_by=giver):
            return giver
    return None


def _derived(name: str) -> Iterator[str]:
    """Ids made of this one, without end: somebody may have chosen the first for an item of their own."""
    for number in count():
        yield derive("decision", hashlib.sha256(f"{name}\n{number}".encode()).digest())


def _check_meeting(scene: Scene, committee: str, name: str) -> None:
    found = scene.register.find(Meeting, name)
    if found.content.committee != committee or found.state not in ("called", "open"):
        raise MeetingUnfit


def _open_meeting(scene: Scene, content: Decision) -> Meeting:
    found: GovernanceRecord[Meeting] = scene.register.find(Meeting, content.meeting)
    if found.state != "open":
        raise MeetingNotOpen
    return found.content


def _free_seats(meeting: Meeting, committee: Committee, content: Decision) -> list[CommitteeSeat]:
    """The seats that are present and have not stepped back."""
    return [
        seat
        for seat in committee.seats
        if seat.partner in meeting.present and seat.partner not in content.recused
    ]


def _choices(content: Decision, free: list[CommitteeSeat]) -> list[str]:
    """The votes of seats that still stand: who resigned since does not count."""
    return [content.votes[seat.partner] for seat in free if seat.partner in content.votes]


DECISIONS: Final = LifeCycle(
    content=Decision,
    plural="decisions",
    id_kind="decision",
    most=50_000,
    waits="tabled on_agenda",
    rows=(
        ActRow(NOTHING, "table", "seat", "", AgendaItem, _table,
            (_is_an_item,), "Table an item for your committee."),
        ActRow(NOTHING, "route", DECISION, "tabled", Decision, _route),
        ActRow("tabled", "schedule", "secretary", "on_agenda", Schedule, _schedule,
            (_can_be_scheduled,), "Put an item on a meeting's agenda."),
        ActRow("on_agenda", "postpone", DECISION, "tabled", Nothing, _postpone),
        drop_row("tabled on_agenda", "seat"),
        ActRow("on_agenda", "recuse", "seat", "", Nothing, _recuse,
            (_may_speak,), "Step back from an item in which your organisation has an interest."),
        ActRow("on_agenda", "vote", "seat", "", Vote, _vote,
            (_is_own_seat, _may_speak), "Vote for your seat."),
        ActRow("on_agenda", "take", "secretary", "", Taking, _take, (_can_be_taken,),
            "Decide: it needs composition, quorum and mandate, and goes up where it lies above the mandate."),
    ),
    example={
        "committee": "cmt_steering", "meeting": "mtg_2027-02", "subject": "protocol", "area": "ZZ",
        "phase": "implementation", "title": "Share referrals between health and shelters",
        "about": "shared-care.2",
    },
)  # fmt: skip
