"""Invented partners, a founding act, and a stage on which they act without a database."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from schemas.events.governance import ProtocolDocument
from schemas.events.learning import QUESTIONS
from services.governance.domain.areas import Areas, read_areas
from services.governance.domain.composition import Committee
from services.governance.domain.figures import Figure
from services.governance.domain.founding import FoundingAct, founding_acts
from services.governance.domain.life_cycle import (
    CLOCK,
    ActOutcome,
    Cycles,
    GovernanceRecord,
    GovernanceRegister,
    Nothing,
    PartnerAct,
    PartnerActor,
    perform,
)
from services.governance.domain.rules import Rules
from services.governance.domain.tables import CYCLES
from services.governance.store import INDICATORS
from tests.support.clock import NOON, StoppedClock
from tests.support.governance import KEYS
from tests.support.histories import a_table
from tests.support.partnership import AREAS

DELAY: Final = timedelta(days=1)
PROTOCOL: Final = json.loads((Path(__file__).parents[2] / "deploy/local/protocol.json").read_text("utf-8"))
FOUNDERS: Final[Mapping[str, str]] = {
    "un-office": "un",
    "ministry": "government",
    "open-hand-fund": "donor",
    "river-alliance": "civil_society",
    "dawn-movement": "womens_movement",
}
"""Partner → for whom it speaks."""


def described(constituency: str, **more: Any) -> dict[str, Any]:
    """A partner as another one proposes it."""
    return {"constituency": constituency, "level": "national", "area": "ZZ", **more}


def seats(partners: Mapping[str, str], until: datetime) -> list[dict[str, Any]]:
    """A seat for each of these partners."""
    return [
        {"partner": name, "constituency": one, "until": until.isoformat()} for name, one in partners.items()
    ]


def a_committee(
    partners: Mapping[str, str], chairs: tuple[str, str], until: datetime, **more: Any
) -> dict[str, Any]:
    """A committee with a seat for each of these partners."""
    return {
        "type": "steering",
        "level": "national",
        "area": "ZZ",
        "secretariat": "un-office",
        "composition": {"constituencies": sorted(set(partners.values()))},
        "seats": seats(partners, until),
        "co_chairs": chairs,
        **more,
    }


def a_founding(at: datetime = NOON, **more: Any) -> dict[str, Any]:
    """Five partners, their steering committee, and a mandate of two years for everything."""
    return {
        "partners": [{"id": name, **described(one)} for name, one in FOUNDERS.items()],
        "committee": {
            "id": "cmt_steering",
            **a_committee(FOUNDERS, ("ministry", "dawn-movement"), at + timedelta(days=700)),
        },
        "mandate": {
            "id": "mdt_steering",
            "committee": "cmt_steering",
            "subjects": ["admission", "protocol", "recommendation"],
            "area": "ZZ",
            "valid_from": at.isoformat(),
            "valid_until": (at + timedelta(days=600)).isoformat(),
        },
        **more,
    }


def a_protocol(parties: tuple[str, ...], version: int = 1, **more: Any) -> ProtocolDocument:
    """The project's example protocol between these parties."""
    return ProtocolDocument.model_validate(
        {**PROTOCOL, "id": "shared-care", "version": version, "parties": parties, **more}
    )


def an_item(**more: Any) -> dict[str, Any]:
    """An item of the steering committee's open meeting."""
    item = {"committee": "cmt_steering", "meeting": "mtg_first", "subject": "recommendation", "area": "ZZ"}
    return {**item, "title": "Open shelters at night", **more}


def a_mandate(at: datetime, **more: Any) -> dict[str, Any]:
    """A mandate that the steering committee gives to the one in Saltmere."""
    return {
        "committee": "cmt_saltmere",
        "given_by": "cmt_steering",
        "subjects": ["protocol"],
        "area": "ZZ01",
        "valid_from": at.isoformat(),
        "valid_until": (at + timedelta(days=300)).isoformat(),
        **more,
    }


def a_dialogue(at: datetime, **more: Any) -> dict[str, Any]:
    """A dialogue that begins then."""
    place = {"level": "district", "area": "ZZ0103", "phase": "analysis", "pillar": "services"}
    return {"title": "What a shelter needs", "begins_at": at.isoformat(), **place, **more}


A_RECOMMENDATION: Final[Mapping[str, Any]] = {
    "text": "Let each station name a duty desk. It answers shelters within an hour.",
    "level": "national",
    "area": "ZZ",
    "phase": "planning",
    "pillar": "services",
    "causes": ["weak_institutions"],
    "changes": "service",
}
A_LESSON: Final[Mapping[str, Any]] = {
    "text": "Stations without a named duty desk answered a day later.",
    "causes": ["weak_institutions"],
    "recommendation": "rec_done",
}
"""What the stage's recommendation taught that is done."""


def a_scorecard(**more: Any) -> dict[str, Any]:
    """What twelve people say of the clinic's care in the quarter before the stage's time."""
    about = {"agency": "clinic", "service": "medical_care", "quarter": "2025-Q4", "people": 12}
    return {**about, "scores": dict.fromkeys(QUESTIONS, 4), **more}


def figures(**needs: int) -> list[Figure]:
    """A month of referrals in one area, by need, and who had to answer them."""
    needs = {"medical_care": 40, "safe_shelter": 60, "legal_aid": 4, **needs}
    rows = [("referrals_by_need", need, count) for need, count in needs.items()]
    rows += [(part, code, sum(needs.values())) for part, code in (
        ("referrals_by_urgency", "urgent"), ("offers_by_agency", "clinic"))]  # fmt: skip
    place = {"offers_by_agency": ()}
    return [Figure("1", part, "", (code, *place.get(part, ("ZZ0101",))), count) for part, code, count in rows]


class Stage:
    """Governance's tables played without a database; what is refused raises and changes nothing."""

    def __init__(self, areas: Areas) -> None:
        self.clock = StoppedClock()
        self.register = GovernanceRegister()
        of_persons = tuple(one for one in INDICATORS.values() if one.persons)
        self.rules = Rules(areas, KEYS, DELAY, indicators=of_persons, figures=figures())
        self.cycles: Cycles = CYCLES

    def copy(self) -> "Stage":
        """Another stage on which everything stands the same."""
        stage = Stage(self.rules.areas)
        stage.clock.forward(self.clock.now() - stage.clock.now())
        stage.register, stage.cycles, stage.rules = self.register.copy(), self.cycles, self.rules
        return stage

    def found(self, **more: Any) -> list[ActOutcome]:
        """Begin with the founding act."""
        founding = FoundingAct.model_validate(a_founding(**more))
        return self._keep(
            perform(founding_acts(founding, self.clock.now()), self.register, self.cycles, self.rules)
        )

    def do(self, who: str, act: str, kind: str, name: str, body: Any = None) -> list[ActOutcome]:
        """`role partner`, such as `seat ministry`, does something."""
        role, _, partner = who.partition(" ")
        cycle = self.cycles[kind]
        rows = [row for row in cycle.rows if row.act == act]
        model = next((row.body for row in rows if role in row.by.split()), rows[0].body)
        said = model.model_validate(body or {})
        return self._act(
            PartnerAct(kind, name, act, PartnerActor(role, partner, "s-1"), said, self.clock.now())
        )

    def meet(self, meeting: str, committee: str = "cmt_steering", absent: Collection[str] = ()) -> None:
        """Call and open a meeting of three hours; all seats but the absent ones attend."""
        its, begins = self.content("committee", committee), self.clock.now()
        said = {"committee": committee, "begins_at": begins, "ends_at": begins + timedelta(hours=3)}
        self.do(f"secretary {its.secretariat}", "call", "meeting", meeting, said)
        self.do(f"secretary {its.secretariat}", "open", "meeting", meeting)
        for seat in its.seats:
            if seat.partner not in absent:
                self.do(f"seat {seat.partner}", "attend", "meeting", meeting)

    def vote(self, decision: str, choice: str, *partners: str) -> None:
        """These seats vote alike."""
        for one in partners:
            self.do(f"seat {one}", "vote", "decision", decision, {"seat": one, "choice": choice})

    def decide(self, decision: str, *voters: str, by: str = "un-office", **item: Any) -> list[ActOutcome]:
        """The first voter tables an item, all vote for it, and the secretariat takes the decision."""
        self.do(f"seat {voters[0]}", "table", "decision", decision, an_item(**item))
        self.vote(decision, "for", *voters)
        return self.do(f"secretary {by}", "take", "decision", decision, {"method": "vote"})

    def tick(self, by: timedelta = timedelta()) -> list[ActOutcome]:
        """Let time pass, and the clock act on whatever is due, the earliest first."""
        now, outcomes = self.clock.forward(by), []
        while due := sorted(
            (timer[0], kind, one.id, timer[1])
            for kind, cycle in self.cycles.items()
            for one in self.register.of(kind)
            if (timer := cycle.timer(one)) and timer[0] <= now
        ):
            _, kind, name, act = due[0]
            outcomes += self._act(PartnerAct(kind, name, act, PartnerActor(CLOCK), Nothing(), now))
        return outcomes

    def state(self, kind: str, name: str) -> str | None:
        """In which state something is."""
        record = self.register.get(kind, name)
        return record.state if record else None

    def everything(self) -> list[GovernanceRecord[Any]]:
        """All records, to be compared with how they stand later."""
        return [one for kind in self.cycles for one in self.register.of(kind)]

    def content(self, kind: str, name: str) -> Any:
        """What something is made of."""
        return next(one.content for one in self.register.of(kind) if one.id == name)

    def _act(self, act: PartnerAct) -> list[ActOutcome]:
        return self._keep(perform([act], self.register, self.cycles, self.rules))

    def _keep(self, outcomes: list[ActOutcome]) -> list[ActOutcome]:
        for one in outcomes:
            self.register.put(one.record)
        return outcomes


def facts_of(outcomes: list[ActOutcome]) -> list[str]:
    """The short types of all facts, in order."""
    return [fact.type.removeprefix("governance.") for one in outcomes for fact in one.facts]


SALTMERE: Final[Mapping[str, str]] = {
    "ministry": "government",
    "river-alliance": "civil_society",
    "clinic": "sector_agency",
    "precinct": "sector_agency",
}
"""Who sits in the committee of one province."""
WORK_PLAN: Final = {
    "year": 2026,
    "currency": "XTS",
    "lines": [{"activity": "joint_training", "amount": 1_000, "hours": 100}],
}


def saltmeres(until: datetime, **more: Any) -> dict[str, Any]:
    """The committee of one province, in which health must sit; the last seat's term ends first."""
    committee = a_committee(SALTMERE, ("ministry", "river-alliance"), until)
    rule = {"seats_least": 4, "civil_share_least": 25, "sectors": ["health"]}
    committee["composition"] = {"constituencies": ["sector_agency"], **rule}
    committee["seats"][-1]["until"] = (until - timedelta(days=1)).isoformat()
    place = {"type": "coordination", "level": "district", "area": "ZZ01", "above": "cmt_steering"}
    return {**committee, **place, "secretariat": "ministry", **more}


@cache
def _busy() -> Stage:
    stage = Stage(read_areas(AREAS.read_text("utf-8")))
    stage.found()
    now, un, founders = stage.clock.now(), "secretary un-office", [*FOUNDERS]
    for name, sector in {"clinic": "health", "precinct": "police"}.items():
        agency = described("sector_agency", sector=sector, area="ZZ01")
        stage.do("seat ministry", "propose", "partner", name, agency)
        stage.do("approver river-alliance", "confirm", "partner", name)
    stage.do("seat ministry", "propose", "partner", "school", described("academia"))
    stage.meet("mtg_first", absent=["open-hand-fund"])
    voters = [one for one in founders if one != "open-hand-fund"]
    saltmere = saltmeres(now + timedelta(days=650))
    stage.do(un, "propose", "committee", "cmt_saltmere", saltmere)
    stage.decide("dec_saltmere", *voters, subject="admission", about="cmt_saltmere")
    stage.do(un, "propose", "mandate", "mdt_saltmere", a_mandate(now, work_plans=[WORK_PLAN]))
    stage.decide("dec_mandate", *voters, subject="admission", about="mdt_saltmere")
    stage.do(un, "propose", "committee", "cmt_next", saltmere)
    stage.do(un, "propose", "mandate", "mdt_next", a_mandate(now))
    draft = {"document": a_protocol(("clinic", "precinct")).model_dump()}
    stage.do(un, "draft", "protocol", "shared-care.1", draft)
    stage.do("seat ministry", "table", "decision", "dec_item", an_item())
    stage.vote("dec_item", "for", "un-office", "river-alliance", "dawn-movement")
    stage.meet("mtg_saltmere", "cmt_saltmere")
    local = {"committee": "cmt_saltmere", "meeting": "mtg_saltmere", "subject": "protocol", "area": "ZZ01"}
    stage.do("seat clinic", "table", "decision", "dec_local", an_item(**local))
    stage.vote("dec_local", "for", *SALTMERE)
    stage.do("seat river-alliance", "announce", "dialogue", "dlg_police", a_dialogue(now))
    due = (now + timedelta(days=90)).isoformat()
    for name in ("rec_desks", "rec_done"):
        stage.do("seat river-alliance", "propose", "recommendation", name, A_RECOMMENDATION)
        stage.do("seat ministry", "agree", "recommendation", name)
        stage.do("seat ministry", "assign", "recommendation", name, {"owner": "ministry", "due_at": due})
    stage.do("seat ministry", "implement", "recommendation", "rec_done", {"evidence": "rule_changed"})
    stage.do("seat river-alliance", "score", "scorecard", "scd_clinic", a_scorecard())
    stage.do("seat river-alliance", "propose", "lesson", "lsn_desks", A_LESSON)
    for name, period in {"rls_january": "2026-01", "rls_december": "2025-12"}.items():
        stage.do("seat ministry", "ask", "release", name, {"period": period})
    stage.do("approver dawn-movement", "sign", "release", "rls_january")
    its = stage.content("committee", "cmt_saltmere").model_copy(update={"empty": ("womens_movement", "un")})
    stage.register.put(replace(stage.register.find(Committee, "cmt_saltmere"), content=its, version=50))
    stage.do("seat ministry", "check", "history", "his_past", {"table": a_table({})})
    return stage


def a_busy_stage() -> Stage:
    """Founded, with something of every kind, two open meetings, an item before each, and two empty seats.

    Of the founders all but the donor attend; the ministry has tabled `dec_item` and not voted yet.
    """
    return _busy().copy()
