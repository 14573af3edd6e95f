"""What must not be decided, item by item: each its code, nothing changed, and each condition needed."""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import pytest
from pydantic import ValidationError

from schemas.events.governance import ProtocolCurrent
from services.governance.domain import composition, histories
from services.governance.domain.figures import Figure
from services.governance.domain.founding import FoundingAct, founding_acts
from services.governance.domain.life_cycle import ActRow
from services.governance.domain.publications import OF_SIGNATURES, PROTOCOL_RULES
from services.governance.domain.tables import CYCLES
from services.governance.domain.titles import TitleNamesSomebody, check_title
from services.governance.handlers import Work, found
from services.runtime.errors import Refused
from tests.support.clock import NOON
from tests.support.governance import HOLDERS, STRANGER_TO_ALL, signed
from tests.support.histories import a_table
from tests.support.stage import (
    A_LESSON,
    A_RECOMMENDATION,
    FOUNDERS,
    WORK_PLAN,
    Stage,
    a_busy_stage,
    a_dialogue,
    a_founding,
    a_mandate,
    a_protocol,
    a_scorecard,
    an_item,
    described,
    figures,
    saltmeres,
    seats,
)

UN, MINISTRY, DAWN = "secretary un-office", "seat ministry", "seat dawn-movement"
ENDS: Final = NOON + timedelta(days=600)
DAY: Final = timedelta(days=1)
VOTE, CONSENSUS = {"method": "vote"}, {"method": "consensus"}


class Bad(NamedTuple):
    """An act that is refused, by which code, and what was done before."""

    code: str
    who: str
    act: str
    thing: str
    said: Any = None
    before: Callable[[Stage], object] = lambda _: None

    def play(self, stage: Stage) -> object:
        said = self.said(stage) if callable(self.said) else self.said
        kind, _, name = self.thing.partition(" ")
        return stage.do(self.who, self.act, kind, name, said)


def does(*acts: tuple[str, str, str] | tuple[str, str, str, Any]) -> Callable[[Stage], None]:
    """Each act as who, act, thing and what is said."""

    def play(stage: Stage) -> None:
        for one in acts:
            Bad("", *one).play(stage)

    return play


def without_mandate(stage: Stage) -> None:
    """The steering committee's mandate has ended, in the middle of its meeting."""
    stage.do("clock", "expire", "mandate", "mdt_steering")


def resign(committee: str, *partners: str) -> Callable[[Stage], None]:
    return does(*((f"seat {one}", "resign", f"committee {committee}") for one in partners))


def recuse(*partners: str) -> Callable[[Stage], None]:
    return does(*((f"seat {one}", "recuse", "decision dec_fresh") for one in partners))


def vote(*partners: str) -> Callable[[Stage], None]:
    return lambda stage: stage.vote("dec_fresh", "for", *partners)


def fill(partner: str) -> Callable[[Stage], None]:
    return does(("secretary ministry", "fill", "committee cmt_saltmere", {"partner": partner, "until": ENDS}))


def afresh(*then: Callable[[Stage], object], choice: str = "", **item: Any) -> Callable[[Stage], None]:
    """Another item before the steering committee, on which all those present vote alike, or none."""

    def play(stage: Stage) -> None:
        stage.do(MINISTRY, "table", "decision", "dec_fresh", an_item(**item))
        if choice:
            stage.vote("dec_fresh", choice, *(one for one in FOUNDERS if one != "open-hand-fund"))
        for one in then:
            one(stage)

    return play


def with_council(stage: Stage) -> None:
    """A second partner of the government's."""
    stage.do("seat un-office", "propose", "partner", "council", described("government"))
    stage.do("approver ministry", "confirm", "partner", "council")


def council_did_it_and_left(stage: Stage) -> None:
    """A recommendation's owner leaves, and is to come back for somebody else."""
    with_council(stage)
    owned = {"owner": "council", "due_at": ENDS}
    does(PROPOSED, AGREED, (MINISTRY, "assign", "recommendation rec_new", owned),
         ("seat council", "implement", "recommendation rec_new", {"evidence": "report"}),
         ("approver council", "leave", "partner council"))(stage)  # fmt: skip
    stage.do("seat un-office", "propose", "partner", "council", described("academia"))


def with_shelter(sector: str | None) -> Callable[[Stage], None]:
    """A shelter takes part, in a sector or in none; it may have left before."""
    return does(
        ("seat river-alliance", "propose", "partner shelter", described("civil_society", sector=sector)),
        ("approver un-office", "confirm", "partner shelter"),
    )


def many_files_wait(stage: Stage) -> None:
    """As many files as governance takes, each of another partner's."""
    known = stage.register.find(histories.RecommendationHistory, "his_past")
    for number in range(histories.WAITING_MAX):
        stage.register.put(dataclasses.replace(known, id=f"his_{number}", made_by="nobody", version=1))


def with_seat(partner: str, constituency: str, **more: Any) -> dict[str, Any]:
    """The committee of Saltmere with a seat more."""
    said = saltmeres(ENDS, **more)
    return {**said, "seats": [*said["seats"], *seats({partner: constituency}, ENDS)]}


def ruled(**rule: Any) -> dict[str, Any]:
    return saltmeres(ENDS, composition={**saltmeres(ENDS)["composition"], **rule})


def chaired(*partners: str) -> dict[str, Any]:
    return saltmeres(ENDS, co_chairs=partners)


def meeting(days: float, hours: float = 1, committee: str = "cmt_steering") -> dict[str, Any]:
    begins = NOON + timedelta(days=days)
    return {"committee": committee, "begins_at": begins, "ends_at": begins + timedelta(hours=hours)}


def worked(days: int) -> dict[str, Any]:
    return {"entry": "1", "on": (NOON + days * DAY).date(), "hours": 3, "activity": "joint_training"}


def drafted(**more: Any) -> dict[str, Any]:
    parties = more.pop("parties", ("clinic", "precinct"))
    return {"document": a_protocol(parties, **more).model_dump()}


def signature(holder: Any, *, of: str = "shared-care.1") -> Callable[[Stage], dict[str, Any]]:
    def said(stage: Stage) -> dict[str, Any]:
        one: ProtocolCurrent = signed(stage.content("protocol", of).signed, holder)
        return one.signatures[0].model_dump()

    return said


ADOPTED = ("decision", "adopt", "protocol shared-care.1", {"decision": "dec_item"})
SIGNED = ("approver ministry", "sign", "protocol shared-care.1", signature(HOLDERS[0]))
OTHER_DRAFT = (UN, "draft", "protocol shared-care.2", drafted(version=2))
LATER_CALL = (UN, "call", "meeting mtg_later", meeting(9))
SPENT = {"entry": "1", "year": 2026, "amount": 3, "activity": "joint_training"}
TAKEN, RECUSED = (UN, "take", "decision dec_item", VOTE), (MINISTRY, "recuse", "decision dec_item")
OWN_VOTE = (MINISTRY, "vote", "decision dec_item", {"seat": "ministry", "choice": "for"})
FRESH_VOTE = (MINISTRY, "vote", "decision dec_fresh", OWN_VOTE[3])
LOCALLY = ("secretary ministry", "take", "decision dec_local", VOTE)
FRESHLY = (UN, "take", "decision dec_fresh", VOTE)
OUTSIDE = {"type": "coordination", "level": "local", "area": "ZZ0201", "above": "cmt_saltmere"}
LOCAL = {"committee": "cmt_saltmere", "meeting": "mtg_saltmere", "area": "ZZ01"}

HEARD = {"by_constituency": {"un": 5}}
PROPOSED = ("seat river-alliance", "propose", "recommendation rec_new", A_RECOMMENDATION)
AGREED = (MINISTRY, "agree", "recommendation rec_new")
JANUARY = {"period": "2026-01", "corrects": "rls_january"}


def counts(stage: Stage, needs: dict[str, int], more: Sequence[Figure] = ()) -> None:
    """What is counted is something else by now."""
    stage.rules = dataclasses.replace(stage.rules, figures=[*more] or figures(**needs))


CASES: Final = [
    # Who takes part.
    Bad("role_may_not", "monitor ministry", "propose", "partner new", described("academia")),
    Bad("not_a_partner", "seat nobody", "propose", "partner new", described("academia")),
    Bad("not_a_partner", "approver school", "confirm", "partner school"),
    Bad("unknown_area", MINISTRY, "propose", "partner new", described("academia", area="ZZ99")),
    Bad("unknown_area", "founding", "found", "partner new", described("academia", area="ZZ99")),
    Bad("sector_unfit", MINISTRY, "propose", "partner new", described("donor", sector="health")),
    Bad("sector_unfit", MINISTRY, "propose", "partner new", described("sector_agency")),
    Bad("currency_unfit", MINISTRY, "propose", "partner new", described(
        "donor", offers=[{"code": "funding", "amount": 5, "unit": "money_a_year"}])),
    Bad("currency_unfit", MINISTRY, "amend", "partner ministry", {
        "offers": [{"code": "staff_time", "amount": 5, "unit": "hours_a_month", "currency": "XTS"}]}),
    Bad("lone_admission", "approver ministry", "confirm", "partner school"),
    Bad("civil_admits_its_own", "approver un-office", "confirm", "partner puppets",
        before=does((MINISTRY, "propose", "partner puppets", described("womens_movement")))),
    Bad("same_constituency", "approver council", "confirm", "partner school", before=with_council),
    Bad("another_partner", MINISTRY, "amend", "partner clinic"),
    Bad("another_partner", "approver ministry", "leave", "partner clinic"),
    Bad("still_secretariat", "approver un-office", "leave", "partner un-office"),
    Bad("not_made_by_you", "seat clinic", "drop", "partner school"),
    Bad("code_not_listed", MINISTRY, "amend", "partner ministry", {"expertise": ["ada_lin"]}),
    Bad("code_not_listed", MINISTRY, "amend", "partner ministry", {
        "offers": [{"code": "ada_lin", "amount": 5, "unit": "places"}]}),
    Bad("code_not_listed", "seat river-alliance", "hold", "dialogue dlg_police", {
        "by_constituency": {"un": 5}, "by_group": {"ada_lin": 5}}),
    # Committees.
    Bad("above_itself", UN, "propose", "committee cmt_x", saltmeres(ENDS, above="cmt_x")),
    Bad("above_itself", "secretary ministry", "propose", "committee cmt_x",
        saltmeres(ENDS, above="cmt_saltmere", level="national")),
    Bad("above_itself", "secretary ministry", "propose", "committee cmt_x",
        saltmeres(ENDS, above="cmt_saltmere")),
    Bad("outside_above", "secretary ministry", "propose", "committee cmt_x", saltmeres(ENDS) | OUTSIDE),
    Bad("not_secretariat", "secretary ministry", "propose", "committee cmt_x", saltmeres(ENDS)),
    Bad("unknown_reference", UN, "propose", "committee cmt_x", saltmeres(ENDS, above=None)),
    Bad("unknown_reference", UN, "propose", "committee cmt_x", saltmeres(ENDS, above="cmt_next")),
    Bad("unknown_reference", UN, "propose", "committee cmt_x", with_seat("school", "academia")),
    Bad("seated_twice", UN, "propose", "committee cmt_x", with_seat("clinic", "sector_agency")),
    Bad("seat_misnamed", UN, "propose", "committee cmt_x", with_seat("un-office", "civil_society")),
    Bad("term_over", UN, "propose", "committee cmt_x", saltmeres(NOON + DAY / 2)),
    Bad("unknown_area", "founding", "found", "committee cmt_x", saltmeres(ENDS, area="ZZ99")),
    Bad("too_few_seats", UN, "propose", "committee cmt_x", ruled(seats_least=5)),
    Bad("constituency_missing", UN, "propose", "committee cmt_x", ruled(constituencies=["oversight"])),
    Bad("civil_share_below", UN, "propose", "committee cmt_x", ruled(civil_share_least=26)),
    Bad("sector_missing", UN, "propose", "committee cmt_x", ruled(sectors=["education"])),
    Bad("co_chairs_alike", UN, "propose", "committee cmt_x", chaired("clinic", "precinct")),
    Bad("co_chairs_alike", UN, "propose", "committee cmt_x", chaired("ministry", "ministry")),
    Bad("co_chairs_alike", UN, "propose", "committee cmt_x", chaired("ministry", "un-office")),
    Bad("too_few_seats", "founding", "found", "committee cmt_x", ruled(seats_least=5)),
    Bad("sector_missing", "decision", "adopt", "committee cmt_x", {"decision": "dec_item"}, lambda stage: (
        with_shelter("civil_society")(stage),
        does((UN, "propose", "committee cmt_x", with_seat("shelter", "civil_society", composition={
            "constituencies": ["government"], "sectors": ["civil_society"]})),
            ("approver shelter", "leave", "partner shelter"))(stage),
        with_shelter(None)(stage))),
    Bad("term_over", "decision", "adopt", "committee cmt_next", {"decision": "dec_item"},
        lambda stage: stage.tick(DAY * 649)),
    Bad("unknown_reference", "decision", "adopt", "committee cmt_next", {"decision": "dec_item"},
        does(("approver precinct", "leave", "partner precinct"))),
    Bad("no_seat", "seat un-office", "resign", "committee cmt_saltmere"),
    Bad("not_secretariat", UN, "fill", "committee cmt_saltmere", {"partner": "un-office", "until": ENDS}),
    Bad("seated_twice", "secretary ministry", "fill", "committee cmt_saltmere",
        {"partner": "clinic", "until": ENDS}),
    Bad("no_empty_seat", "secretary ministry", "fill", "committee cmt_saltmere",
        {"partner": "open-hand-fund", "until": ENDS}),
    Bad("term_over", "secretary ministry", "fill", "committee cmt_saltmere",
        {"partner": "un-office", "until": NOON}),
    Bad("not_secretariat", UN, "hand_over", "committee cmt_saltmere", {"secretariat": "un-office"}),
    Bad("not_made_by_you", "secretary ministry", "drop", "committee cmt_next"),
    # Mandates.
    Bad("circular_mandate", "secretary ministry", "propose", "mandate mdt_x",
        a_mandate(NOON, given_by="cmt_saltmere")),
    Bad("circular_mandate", "secretary ministry", "propose", "mandate mdt_x",
        a_mandate(NOON, given_by="cmt_saltmere", committee="cmt_steering")),
    Bad("circular_mandate", UN, "propose", "mandate mdt_x", a_mandate(NOON, committee="cmt_steering")),
    Bad("circular_mandate", "secretary ministry", "propose", "mandate mdt_x",
        a_mandate(NOON, given_by="cmt_saltmere", committee="cmt_next")),
    Bad("unknown_reference", UN, "propose", "mandate mdt_x", a_mandate(NOON, given_by=None)),
    Bad("not_secretariat", "secretary ministry", "propose", "mandate mdt_x", a_mandate(NOON)),
    Bad("power_not_held", UN, "propose", "mandate mdt_x", a_mandate(NOON, subjects=["release"])),
    Bad("power_not_held", "decision", "adopt", "mandate mdt_next", {"decision": "dec_item"},
        lambda stage: stage.tick(DAY * 600)),
    Bad("unknown_area", "founding", "found", "mandate mdt_x", a_mandate(NOON, area="ZZ99")),
    Bad("validity_unfit", UN, "propose", "mandate mdt_x", a_mandate(NOON - DAY * 300)),
    Bad("validity_unfit", UN, "propose", "mandate mdt_x", a_mandate(NOON, valid_from=ENDS)),
    Bad("validity_unfit", UN, "propose", "mandate mdt_x", a_mandate(NOON, valid_until=NOON + DAY * 1831)),
    Bad("plan_unfit", UN, "propose", "mandate mdt_x", a_mandate(NOON, work_plans=[
        WORK_PLAN | {"year": 2030}])),
    Bad("not_made_by_you", "secretary ministry", "drop", "mandate mdt_next"),
    Bad("no_seat", "seat un-office", "log_effort", "mandate mdt_saltmere", worked(0)),
    Bad("backdated", MINISTRY, "log_effort", "mandate mdt_saltmere", worked(-32)),
    Bad("backdated", MINISTRY, "log_effort", "mandate mdt_saltmere", worked(1)),
    Bad("no_seat", "seat un-office", "use_budget", "mandate mdt_saltmere", SPENT),
    Bad("no_plan", MINISTRY, "use_budget", "mandate mdt_saltmere", SPENT | {"year": 2027}),
    # Meetings.
    Bad("not_secretariat", "secretary ministry", "call", "meeting mtg_x", meeting(9)),
    Bad("backdated", UN, "call", "meeting mtg_x", meeting(-1)),
    Bad("hours_unfit", UN, "call", "meeting mtg_x", meeting(9, 25)),
    Bad("hours_unfit", UN, "call", "meeting mtg_x", meeting(9, -1)),
    Bad("hours_unfit", UN, "call", "meeting mtg_x", meeting(401)),
    Bad("sits_elsewhere", UN, "call", "meeting mtg_x", meeting(0)),
    Bad("not_secretariat", "secretary ministry", "open", "meeting mtg_later",
        before=does((UN, "close", "meeting mtg_first"), (UN, "call", "meeting mtg_later", meeting(0)))),
    Bad("too_early", UN, "open", "meeting mtg_later", before=lambda stage: (
        does((UN, "close", "meeting mtg_first"), LATER_CALL)(stage))),
    Bad("sits_elsewhere", UN, "open", "meeting mtg_later", before=lambda stage: (
        does((UN, "call", "meeting mtg_later", meeting(1 / 6)))(stage), stage.tick(DAY / 6))),
    Bad("not_secretariat", "secretary ministry", "cancel", "meeting mtg_later", before=does(LATER_CALL)),
    Bad("not_secretariat", "secretary ministry", "close", "meeting mtg_first"),
    Bad("no_seat", "seat clinic", "attend", "meeting mtg_first"),
    Bad("attends_already", MINISTRY, "attend", "meeting mtg_first"),
    # Items, votes, decisions.
    Bad("no_seat", "seat clinic", "table", "decision dec_x", an_item()),
    Bad("title_names_somebody", MINISTRY, "table", "decision dec_x", an_item(title="Ask Planted about it")),
    Bad("unknown_area", MINISTRY, "table", "decision dec_x", an_item(area="ZZ99")),
    Bad("unknown_reference", MINISTRY, "table", "decision dec_x", an_item(committee="cmt_next")),
    Bad("unknown_reference", MINISTRY, "table", "decision dec_x", an_item(
        subject="admission", about="cmt_saltmere")),
    Bad("subject_unfit", MINISTRY, "table", "decision dec_x", an_item(about="cmt_next")),
    Bad("subject_unfit", MINISTRY, "table", "decision dec_x", an_item(about="shared-care.1")),
    Bad("others_to_decide", MINISTRY, "table", "decision dec_x", an_item(
        **LOCAL, subject="admission", about="mdt_next")),
    Bad("area_too_narrow", MINISTRY, "table", "decision dec_x", an_item(
        subject="admission", about="cmt_next", area="ZZ02")),
    Bad("area_too_narrow", MINISTRY, "table", "decision dec_x", an_item(
        subject="protocol", about="shared-care.1", area="ZZ02")),
    Bad("meeting_unfit", MINISTRY, "table", "decision dec_x", an_item(meeting="mtg_saltmere")),
    Bad("meeting_unfit", UN, "schedule", "decision dec_x", {"meeting": "mtg_saltmere"},
        does((MINISTRY, "table", "decision dec_x", an_item(meeting=None)))),
    Bad("not_secretariat", "secretary ministry", "schedule", "decision dec_x", {"meeting": "mtg_first"},
        does((MINISTRY, "table", "decision dec_x", an_item(meeting=None)))),
    Bad("not_made_by_you", "seat un-office", "drop", "decision dec_item"),
    Bad("meeting_not_open", *FRESH_VOTE, lambda stage: (
        does(LATER_CALL)(stage), afresh(meeting="mtg_later")(stage))),
    Bad("not_in_this_state", *OWN_VOTE, does((UN, "close", "meeting mtg_first"))),
    Bad("not_in_this_state", *OWN_VOTE, does(TAKEN)),
    Bad("not_present", "seat open-hand-fund", "vote", "decision dec_item",
        {"seat": "open-hand-fund", "choice": "for"}),
    Bad("no_seat", *OWN_VOTE, resign("cmt_steering", "ministry")),
    Bad("voted_already", "seat un-office", "vote", "decision dec_item",
        {"seat": "un-office", "choice": "against"}),
    Bad("voted_already", "seat un-office", "recuse", "decision dec_item"),
    Bad("member_recused", *OWN_VOTE, does(RECUSED)),
    Bad("member_recused", *RECUSED, None, does(RECUSED)),
    Bad("not_your_seat", MINISTRY, "vote", "decision dec_item", {"seat": "open-hand-fund", "choice": "for"}),
    Bad("not_secretariat", "secretary ministry", "take", "decision dec_item", VOTE),
    Bad("meeting_not_open", *FRESHLY, lambda stage: (
        does(LATER_CALL)(stage), afresh(meeting="mtg_later")(stage))),
    Bad("not_in_this_state", *TAKEN, does(TAKEN)),
    # A composition that breaks in the middle of a meeting.
    Bad("too_few_seats", *LOCALLY, resign("cmt_saltmere", "precinct")),
    Bad("constituency_missing", *TAKEN, resign("cmt_steering", "open-hand-fund")),
    Bad("civil_share_below", *LOCALLY, fill("un-office")),
    Bad("sector_missing", *LOCALLY, lambda stage: (
        fill("dawn-movement")(stage), resign("cmt_saltmere", "clinic")(stage))),
    Bad("co_chairs_alike", *LOCALLY, lambda stage: (
        fill("dawn-movement")(stage), resign("cmt_saltmere", "ministry")(stage))),
    Bad("quorum_missing", *FRESHLY, afresh(
        recuse("ministry", "un-office"), vote("river-alliance", "dawn-movement"))),
    Bad("quorum_without_constituency", *FRESHLY, afresh(
        recuse("river-alliance", "dawn-movement"),
        does(("seat open-hand-fund", "attend", "meeting mtg_first")),
        vote("ministry", "un-office", "open-hand-fund"))),
    Bad("no_live_mandate", *TAKEN, without_mandate),
    Bad("no_consensus", UN, "take", "decision dec_fresh", CONSENSUS, afresh(choice="against")),
    Bad("not_enough_votes", *FRESHLY, afresh(
        vote("ministry", "un-office"))),
    Bad("not_enough_votes", UN, "take", "decision dec_fresh", CONSENSUS, afresh()),
    Bad("above_every_mandate", *FRESHLY, afresh(choice="for", subject="release")),
    # Protocols and their signatures.
    Bad("other_id", UN, "draft", "protocol shared-care.2", drafted()),
    Bad("id_taken", UN, "draft", "protocol clinic.1", drafted(id="clinic")),
    Bad("version_not_next", UN, "draft", "protocol shared-care.3", drafted(version=3)),
    Bad("over_before", UN, "draft", "protocol shared-care.2", drafted(version=2, valid_until=NOON)),
    Bad("party_not_admitted", UN, "draft", "protocol shared-care.2",
        drafted(version=2, parties=("clinic", "school"))),
    Bad("not_made_by_you", "secretary ministry", "drop", "protocol shared-care.1"),
    Bad("not_in_this_state", *SIGNED),
    Bad("signed_by_this_key", *SIGNED, does(ADOPTED, SIGNED)),
    Bad("key_not_pinned", *SIGNED[:3], signature(STRANGER_TO_ALL), does(ADOPTED)),
    Bad("signature_mismatch", *SIGNED[:3], signature(HOLDERS[0], of="shared-care.2"),
        does(ADOPTED, OTHER_DRAFT)),
    # Dialogues and recommendations.
    Bad("title_names_somebody", MINISTRY, "announce", "dialogue dlg_new", a_dialogue(
        NOON, title="Hear Ada Lin")),
    Bad("unknown_area", MINISTRY, "announce", "dialogue dlg_new", a_dialogue(NOON, area="ZZ99")),
    Bad("backdated", MINISTRY, "announce", "dialogue dlg_new", a_dialogue(NOON - DAY)),
    Bad("too_far_ahead", MINISTRY, "announce", "dialogue dlg_new", a_dialogue(NOON + 500 * DAY)),
    Bad("not_made_by_you", MINISTRY, "hold", "dialogue dlg_police", HEARD),
    Bad("not_made_by_you", MINISTRY, "drop", "dialogue dlg_police"),
    Bad("too_early", MINISTRY, "hold", "dialogue dlg_new", HEARD,
        does((MINISTRY, "announce", "dialogue dlg_new", a_dialogue(NOON + DAY)))),
    Bad("counted_twice", "seat river-alliance", "hold", "dialogue dlg_police", {
        **HEARD, "by_group": {"rural_women": 5, "young_women": 5, "older_women": 5}}),
    Bad("counted_twice", "seat river-alliance", "hold", "dialogue dlg_police", {
        "by_constituency": {"un": 1}, "by_group": {"rural_women": 1, "young_women": 1, "older_women": 1}}),
    Bad("title_names_somebody", MINISTRY, "propose", "recommendation rec_new", {
        **A_RECOMMENDATION, "text": "Let the desk call Ada Lin within an hour."}),
    Bad("unknown_area", MINISTRY, "propose", "recommendation rec_new", {**A_RECOMMENDATION, "area": "ZZ99"}),
    Bad("unknown_reference", MINISTRY, "propose", "recommendation rec_new", {
        **A_RECOMMENDATION, "dialogue": "dlg_police"}),
    Bad("not_made_by_you", MINISTRY, "drop", "recommendation rec_new", before=does(PROPOSED)),
    Bad("agreed_already", "seat river-alliance", "agree", "recommendation rec_new", before=does(PROPOSED)),
    Bad("no_agreement", "seat un-office", "assign", "recommendation rec_new",
        {"owner": "ministry", "due_at": ENDS}, does(PROPOSED, AGREED)),
    Bad("due_unfit", MINISTRY, "assign", "recommendation rec_new",
        {"owner": "ministry", "due_at": NOON}, does(PROPOSED, AGREED)),
    Bad("not_owner", "seat river-alliance", "progress", "recommendation rec_desks", {"per_cent": 40}),
    Bad("not_owner", "seat river-alliance", "implement", "recommendation rec_desks", {"evidence": "report"}),
    Bad("not_further", MINISTRY, "progress", "recommendation rec_desks", {"per_cent": 10},
        does((MINISTRY, "progress", "recommendation rec_desks", {"per_cent": 10}))),
    Bad("own_verification", MINISTRY, "verify", "recommendation rec_desks", None,
        does((MINISTRY, "implement", "recommendation rec_desks", {"evidence": "report"}))),
    Bad("own_verification", MINISTRY, "verify", "recommendation rec_new", None, council_did_it_and_left),
    # Scorecards and lessons.
    Bad("not_reference_group", MINISTRY, "score", "scorecard scd_new", a_scorecard()),
    Bad("own_scorecard", "seat shelter", "score", "scorecard scd_new", a_scorecard(agency="shelter"),
        with_shelter("civil_society")),
    Bad("no_service", DAWN, "score", "scorecard scd_new", a_scorecard(agency="ministry")),
    Bad("unknown_reference", DAWN, "score", "scorecard scd_new", a_scorecard(agency="school")),
    Bad("quarter_open", DAWN, "score", "scorecard scd_new", a_scorecard(quarter="2026-Q1")),
    Bad("quarter_open", DAWN, "score", "scorecard scd_new", a_scorecard(quarter="2023-Q4")),
    Bad("too_few_people", DAWN, "score", "scorecard scd_new", a_scorecard(people=4)),
    Bad("scored_already", "seat river-alliance", "score", "scorecard scd_new", a_scorecard(people=30)),
    Bad("not_made_by_you", DAWN, "withdraw", "scorecard scd_clinic"),
    Bad("title_names_somebody", MINISTRY, "propose", "lesson lsn_new", {
        **A_LESSON, "text": "Whoever was sent to Ada Lin waited."}),
    Bad("title_names_somebody", MINISTRY, "propose", "lesson lsn_new", {
        **A_LESSON, "text": "Whoever called 0772 123 456 waited."}),
    Bad("one_change", MINISTRY, "propose", "lesson lsn_new", {**A_LESSON, "protocol": "shared-care.1"}),
    Bad("one_change", MINISTRY, "propose", "lesson lsn_new", {**A_LESSON, "recommendation": None}),
    Bad("unknown_reference", MINISTRY, "propose", "lesson lsn_new", {
        **A_LESSON, "recommendation": "rec_desks"}),
    Bad("unknown_reference", MINISTRY, "propose", "lesson lsn_new", {
        **A_LESSON, "recommendation": None, "protocol": "shared-care.1"}),
    Bad("same_constituency", "seat river-alliance", "share", "lesson lsn_desks"),
    Bad("not_made_by_you", MINISTRY, "drop", "lesson lsn_desks"),
    # Files of past years: `test_histories.py` has their rows.
    Bad("too_many_open", MINISTRY, "check", "history his_new", {"table": a_table({})}),
    Bad("too_many", "seat un-office", "check", "history his_new", {"table": a_table({})}, many_files_wait),
    Bad("same_constituency", "approver council", "confirm", "history his_past", None, with_council),
    Bad("not_made_by_you", "seat river-alliance", "drop", "history his_past"),
    # Releases.
    Bad("period_open", MINISTRY, "ask", "release rls_new", {"period": "2026-02"}),
    Bad("period_open", MINISTRY, "ask", "release rls_new", {"period": "2023-12"}),
    Bad("released_already", MINISTRY, "ask", "release rls_new", {"period": "2026-01"}),
    Bad("released_already", MINISTRY, "ask", "release rls_new", {"period": "2025-12"}),
    Bad("correction_unfit", MINISTRY, "ask", "release rls_new", {**JANUARY, "corrects": "rls_december"}),
    Bad("correction_unfit", MINISTRY, "ask", "release rls_new", {
        "period": "2025-11", "corrects": "rls_january"}),
    Bad("grid_too_large", MINISTRY, "ask", "release rls_new", {"period": "2025-11"},
        lambda stage: counts(stage, {f"need_{one}": 1 for one in range(3_000)})),
    Bad("figures_disagree", MINISTRY, "ask", "release rls_new", {"period": "2025-11"},
        lambda stage: counts(stage, {}, figures()[:-1])),
    Bad("correction_withheld", MINISTRY, "ask", "release rls_new", JANUARY,
        lambda stage: counts(stage, {"legal_aid": 14, "safe_shelter": 99})),
    Bad("correction_withheld", MINISTRY, "ask", "release rls_new", JANUARY,
        lambda stage: counts(stage, {"medical_care": 9})),
    Bad("correction_withheld", MINISTRY, "ask", "release rls_new", JANUARY,
        lambda stage: counts(stage, {"legal_aid": 5})),
    Bad("civil_signature", "approver un-office", "sign", "release rls_december"),
    Bad("own_release", "approver river-alliance", "sign", "release rls_own", None,
        does(("seat river-alliance", "ask", "release rls_own", {"period": "2025-11"}))),
    Bad("not_made_by_you", "seat un-office", "drop", "release rls_december"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.act}-{case.thing}")
def test_bad_input_is_refused_by_its_code_and_changes_nothing(case: Bad) -> None:
    stage = a_busy_stage()
    case.before(stage)
    before = stage.everything()

    with pytest.raises(Refused) as refused:
        case.play(stage)

    assert refused.value.code == case.code
    assert stage.everything() == before


CONDITIONS: Final = [
    (kind, row.act, number)
    for kind, cycle in CYCLES.items()
    for row in cycle.rows
    for number, _ in enumerate(row.needs)
]


@pytest.mark.parametrize(("kind", "act", "number"), CONDITIONS)
def test_each_condition_of_each_row_has_a_case_that_passes_without_it(
    kind: str, act: str, number: int
) -> None:
    stage = a_busy_stage()
    stage.cycles = {**CYCLES, kind: without_condition(kind, act, number)}

    assert (kind, act) == ("committee", "resign") or any(  # what is made of it asks for the seat once more
        passes(case, stage.copy())
        for case in CASES
        if case.act == act and case.thing.startswith(f"{kind} ") and case.code in refusals(kind, act, number)
    )


@pytest.mark.parametrize("clause", composition.COMPOSITION, ids=lambda clause: clause.refusal.code)
def test_each_clause_of_the_composition_has_a_case_that_passes_without_it(
    clause: composition.Clause, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = a_busy_stage()
    rest = tuple(one for one in composition.COMPOSITION if one is not clause)
    monkeypatch.setattr(composition, "COMPOSITION", rest)

    acts = {case.act for case in CASES if case.code == clause.refusal.code and passes(case, stage.copy())}

    assert acts >= {"propose", "take"}


def test_each_refusal_that_a_condition_names_has_a_case() -> None:
    named = {one for kind, act, number in CONDITIONS for one in refusals(kind, act, number)}
    elsewhere = {one.code for one in (*OF_SIGNATURES, *PROTOCOL_RULES)}

    assert named - elsewhere <= {case.code for case in CASES}


def test_a_partner_that_leaves_loses_its_seats_at_once() -> None:
    stage = a_busy_stage()

    stage.do("approver clinic", "leave", "partner", "clinic")

    assert stage.content("committee", "cmt_saltmere").seat_of("clinic") is None
    assert stage.state("committee", "cmt_saltmere") == "incomplete"


def test_a_narrower_version_replaces_no_protocol_that_binds_others() -> None:
    stage = a_busy_stage()
    for name, area in {"shelter": "ZZ02", "hostel": "ZZ02"}.items():
        stage.do(MINISTRY, "propose", "partner", name, described("sector_agency", sector="health", area=area))
        stage.do("approver un-office", "confirm", "partner", name)
    wide = stage.register.get("protocol", "shared-care.1")
    assert wide is not None
    stage.register.put(dataclasses.replace(wide, state="in_force", version=wide.version + 1))
    document = a_protocol(("shelter", "hostel"), version=2).model_dump()
    stage.do(UN, "draft", "protocol", "shared-care.2", {"document": document})

    item = an_item(subject="protocol", about="shared-care.2", area="ZZ02")
    with pytest.raises(Refused, match="area_too_narrow"):
        stage.do(MINISTRY, "table", "decision", "dec_narrow", item)

    stage.register.put(dataclasses.replace(wide, state="signed", version=wide.version + 2))
    stage.do(MINISTRY, "table", "decision", "dec_narrow", item)
    stage.vote("dec_narrow", "for", *(one for one in FOUNDERS if one != "open-hand-fund"))
    stage.register.put(dataclasses.replace(wide, state="in_force", version=wide.version + 3))
    with pytest.raises(Refused, match="area_too_narrow"):
        stage.do(UN, "take", "decision", "dec_narrow", VOTE)


async def test_a_second_founding_is_refused() -> None:
    stage = a_busy_stage()

    class FoundedActs:
        async def lock(self) -> Any:
            return stage.register

        async def repeated(self, _: object) -> None:
            return None

    work = Work(None, FoundedActs(), stage.rules, stage.clock, None)  # type: ignore[arg-type]

    with pytest.raises(Refused, match="founded_already"):
        await found(FoundingAct.model_validate(a_founding()), work)


@pytest.mark.parametrize(
    "planted",
    [
        {"mandate": a_founding()["mandate"] | {"given_by": "cmt_steering"}},
        {"mandate": a_founding()["mandate"] | {"committee": "cmt_other"}},
        {"committee": a_founding()["committee"] | {"above": "cmt_other"}},
    ],
)
def test_a_founding_act_gives_its_own_committee_its_own_mandate(planted: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="founding_unfit"):
        founding_acts(FoundingAct.model_validate(a_founding(**planted)), NOON)


def test_no_body_says_when_it_was_done() -> None:
    for cycle in CYCLES.values():
        for row in cycle.rows:
            if row.of_people:
                with pytest.raises(ValidationError, match="at\n  Extra inputs are not permitted"):
                    row.body.model_validate({"at": NOON.isoformat()})


@pytest.mark.parametrize(("title", "is_refused"), [
    ("Open shelters at night", False), ("Budget of the WHO and UNFPA for 2026 and 2027", False),
    ("Beds for 120 women", False), ("Call 0\u200b7\u200b0\u200b0\u200b1", True),
    ("Élargir les abris", False), ("महिला आश्रय की योजना", False),
    ("ملاجئ النساء في الليل", False), ("保护妇女的计划", False), ("3 shelters more", False),
    ("Follow-up of the women's plan", False),
    ("Ask Grace about it", True), ("Let mr Okello speak", True), ("Let dr. okello speak", True),
    ("Ask O’Neill", True), ("ask the ministry's Planted", True), ("ask al_Planted", True),
    ("Call 0772 123 456", True), ("Call +256-772-123456", True), ("Call (0)77.21.23", True),
    ("Call ٠٧٧٢١٢٣٤", True), ("Call 2026 2027 2028 1", True), ("Write to planted@example.org", True),
    ("See https://example.org/planted", True), ("See www.example.org", True), ("12 34", True), ("...", True),
    ("Ask \U0001d40f\U0001d425\U0001d41a\U0001d427\U0001d42d about it", True),  # letters of mathematics
    ("Ask \u202edetnalP\u202c about it", True), ("\u2067detnalP\u2069 is asked", True),  # read backwards
    ("Write to planted\uff20example.org", True), ("Call ①②③④⑤⑥⑦", True), ("Call 0772–123–456", True),
    ("Call 07,72,12,34", True), ("Call 07:72:12:34", True), ("Open 10, 15, 20 or 25 beds", False),
    ("Ask the PLANTED", True), ("Обсудить план", False), ("Спросить Планту об этом", True),
])  # fmt: skip
def test_a_title_in_which_somebody_can_be_recognised_is_refused_and_never_echoed(
    title: str, *, is_refused: bool
) -> None:
    if not is_refused:
        check_title(title)
        return

    with pytest.raises(TitleNamesSomebody) as refused:
        check_title(title)

    assert not any(one in str(refused.value) for one in ("lanted", "kello", "Grace", "Neill", "77", "٧"))


def refusals(kind: str, act: str, number: int) -> set[str]:
    """The codes that one condition of one row raises."""
    (row,) = (one for one in CYCLES[kind].rows if one.act == act and len(one.needs) > number)
    return {one.code for one in row.needs[number].refusals}


def without_condition(kind: str, act: str, number: int) -> Any:
    """The table with that condition taken out of that row."""

    def mutant(row: ActRow) -> ActRow:
        is_it = row.act == act and len(row.needs) > number
        return row._replace(needs=row.needs[:number] + row.needs[number + 1 :]) if is_it else row

    return dataclasses.replace(CYCLES[kind], rows=tuple(map(mutant, CYCLES[kind].rows)))


def passes(case: Bad, stage: Stage) -> bool:
    """Whether an act is not refused; it may fail otherwise where a condition that it rests on is out."""
    case.before(stage)
    try:
        case.play(stage)
    except Refused:
        return False
    except StopIteration:
        return True
    return True
