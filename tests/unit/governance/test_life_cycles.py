"""Every state and every act of each aggregate: what leads where, and that all the rest changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

import pytest

from schemas.events.governance import ProtocolCurrent
from services.governance.domain import life_cycle
from services.governance.domain.life_cycle import (
    NOTHING,
    ActBody,
    ActRow,
    Change,
    Content,
    GovernanceRecord,
    LifeCycle,
    Scene,
    condition,
)
from services.governance.domain.tables import CYCLES
from services.runtime.errors import Refused, define_refusal
from tests.support.clock import NOON
from tests.support.governance import HOLDERS, signed
from tests.support.histories import a_table
from tests.support.stage import (
    A_LESSON,
    A_RECOMMENDATION,
    Stage,
    a_busy_stage,
    a_dialogue,
    a_founding,
    a_mandate,
    a_protocol,
    a_scorecard,
    an_item,
    facts_of,
    saltmeres,
)

NEXT = {
    "partner": {
        "none": "propose>proposed found>admitted",
        "proposed": "confirm>admitted drop>dropped",
        "admitted": "amend>admitted leave>left",
        "left": "propose>proposed",
        "dropped": "propose>proposed",
    },
    "committee": {
        "none": "propose>proposed found>constituted",
        "proposed": "adopt>constituted drop>dropped",
        "constituted": "resign>incomplete vacate>incomplete end_term>incomplete fill>constituted"
        " hand_over>constituted",
        "incomplete": "resign>incomplete vacate>incomplete end_term>incomplete fill>constituted"
        " hand_over>incomplete",
        "dropped": "",
    },
    "mandate": {
        "none": "propose>proposed found>live",
        "proposed": "adopt>live drop>dropped",
        "live": "warn>live expire>expired log_effort>live use_budget>live",
        "expired": "",
        "dropped": "",
    },
    "meeting": {
        "none": "call>called",
        "called": "open>open cancel>cancelled lapse>cancelled",
        "open": "attend>open close>held end>held",
        "held": "",
        "cancelled": "",
    },
    "decision": {
        "none": "table>on_agenda route>tabled",
        "tabled": "schedule>on_agenda drop>dropped",
        "on_agenda": "postpone>tabled drop>dropped recuse>on_agenda vote>on_agenda take>adopted",
        "adopted": "",
        "rejected": "",
        "routed_up": "",
        "dropped": "",
    },
    "protocol": {
        "none": "draft>draft",
        "draft": "adopt>adopted drop>dropped expire>expired",
        "adopted": "sign>adopted expire>expired",
        "signed": "take_force>in_force expire>expired",
        "in_force": "warn>expiring replace>replaced expire>expired",
        "expiring": "replace>replaced expire>expired",
        "expired": "",
        "replaced": "",
        "dropped": "",
    },
    "dialogue": {
        "none": "announce>announced",
        "announced": "hold>held drop>dropped",
        "held": "",
        "dropped": "",
    },
    "recommendation": {
        "none": "propose>proposed",
        "proposed": "agree>agreed drop>dropped",
        "agreed": "agree>agreed assign>assigned",
        "assigned": "progress>progressed implement>implemented stall>stalled",
        "progressed": "progress>progressed implement>implemented stall>stalled",
        "stalled": "assign>assigned progress>progressed implement>implemented",
        "implemented": "verify>verified",
        "verified": "",
        "dropped": "",
    },
    "scorecard": {"none": "score>scored", "scored": "withdraw>withdrawn", "withdrawn": ""},
    "lesson": {
        "none": "propose>proposed",
        "proposed": "share>shared drop>dropped",
        "shared": "",
        "dropped": "",
    },
    "history": {
        "none": "check>checked",
        "checked": "confirm>confirmed drop>dropped",
        "confirmed": "",
        "dropped": "",
    },
    "release": {
        "none": "ask>draft",
        "draft": "sign>published drop>dropped",
        "published": "",
        "dropped": "",
    },
}
"""Kind → state → act > state afterwards, with seats, bodies and votes that keep every rule."""
SUBJECTS = {
    "partner": ("school", "college"),
    "committee": ("cmt_saltmere", "cmt_other"),
    "mandate": ("mdt_saltmere", "mdt_other"),
    "meeting": ("mtg_first", "mtg_other"),
    "decision": ("dec_item", "dec_other"),
    "protocol": ("shared-care.1", "other-care.1"),
    "dialogue": ("dlg_police", "dlg_other"),
    "recommendation": ("rec_desks", "rec_other"),
    "scorecard": ("scd_clinic", "scd_other"),
    "lesson": ("lsn_desks", "lsn_other"),
    "history": ("his_past", "his_other"),
    "release": ("rls_december", "rls_other"),
}
"""Kind → an id that stands, and one that does not."""


def of_founding(part: str, **more: Any) -> Callable[[Stage], dict[str, Any]]:
    said = a_founding()[part] | more
    return lambda _: {name: value for name, value in said.items() if name != "id"}


def the_first_signature(stage: Stage) -> dict[str, Any]:
    one: ProtocolCurrent = signed(stage.content("protocol", "shared-care.1").signed, HOLDERS[0])
    return one.signatures[0].model_dump()


def the_other_document(_: Stage) -> dict[str, Any]:
    return {"document": a_protocol(("clinic", "precinct"), id="other-care").model_dump()}


SCHOOL = {"constituency": "academia", "level": "national", "area": "ZZ"}
UN, MINISTRY = "secretary un-office", "seat ministry"
LATER = NOON + timedelta(days=600)
DOES: dict[str, dict[str, tuple[str, Any]]] = {
    "partner": {
        "propose": (MINISTRY, SCHOOL),
        "found": ("founding", SCHOOL),
        "confirm": ("approver river-alliance", {}),
        "amend": ("seat school", {"expertise": ["evaluation"]}),
        "leave": ("approver school", {}),
        "drop": (MINISTRY, {}),
    },
    "committee": {
        "propose": (UN, saltmeres(LATER)),
        "found": ("founding", of_founding("committee")),
        "adopt": ("decision", {"decision": "dec_saltmere"}),
        "resign": ("seat precinct", {}),
        "vacate": ("decision", {"partner": "precinct", "reason": "partner_left"}),
        "end_term": ("clock", {}),
        "fill": ("secretary ministry", {"partner": "dawn-movement", "until": LATER}),
        "hand_over": ("secretary ministry", {"secretariat": "river-alliance"}),
        "drop": (UN, {}),
    },
    "mandate": {
        "propose": (UN, a_mandate(NOON)),
        "found": ("founding", of_founding("mandate")),
        "adopt": ("decision", {"decision": "dec_mandate"}),
        "warn": ("clock", {}),
        "expire": ("clock", {}),
        "log_effort": (
            "seat clinic",
            {"entry": "1", "on": NOON.date(), "hours": 3, "activity": "joint_training"},
        ),
        "use_budget": (
            "seat clinic",
            {"entry": "1", "year": 2026, "amount": 3, "activity": "joint_training"},
        ),
        "drop": (UN, {}),
    },
    "meeting": {
        "call": (
            UN,
            {
                "committee": "cmt_steering",
                "begins_at": NOON + timedelta(days=9),
                "ends_at": NOON + timedelta(days=9, hours=1),
            },
        ),
        "open": (UN, {}),
        "cancel": (UN, {}),
        "attend": ("seat open-hand-fund", {}),
        "close": (UN, {}),
        "lapse": ("clock", {}),
        "end": ("clock", {}),
    },
    "decision": {
        "table": (MINISTRY, an_item()),
        "route": ("decision", lambda stage: stage.content("decision", "dec_item").model_dump()),
        "schedule": (UN, {"meeting": "mtg_first"}),
        "postpone": ("decision", {}),
        "drop": (MINISTRY, {}),
        "recuse": (MINISTRY, {}),
        "vote": (MINISTRY, {"seat": "ministry", "choice": "against"}),
        "take": (UN, {"method": "vote"}),
    },
    "protocol": {
        "draft": (UN, the_other_document),
        "adopt": ("decision", {"decision": "dec_item"}),
        "sign": ("approver ministry", the_first_signature),
        "take_force": ("clock", {}),
        "warn": ("clock", {}),
        "replace": ("decision", {}),
        "expire": ("clock", {}),
        "drop": (UN, {}),
    },
    "dialogue": {
        "announce": (MINISTRY, a_dialogue(NOON)),
        "hold": ("seat river-alliance", {"by_constituency": {"un": 5}}),
        "drop": ("seat river-alliance", {}),
    },
    "recommendation": {
        "propose": (MINISTRY, A_RECOMMENDATION),
        "drop": ("seat river-alliance", {}),
        "agree": ("seat dawn-movement", {}),
        "assign": (MINISTRY, {"owner": "clinic", "due_at": LATER}),
        "progress": (MINISTRY, {"per_cent": 50}),
        "implement": (MINISTRY, {"evidence": "report"}),
        "verify": ("seat river-alliance", {}),
        "stall": ("clock", {}),
    },
    "scorecard": {
        "score": ("seat dawn-movement", a_scorecard()),
        "withdraw": ("seat river-alliance", {}),
    },
    "lesson": {
        "propose": (MINISTRY, A_LESSON),
        "drop": ("seat river-alliance", {}),
        "share": (MINISTRY, {}),
    },
    "history": {
        "check": ("seat river-alliance", {"table": a_table({})}),
        "confirm": ("approver river-alliance", {}),
        "drop": (MINISTRY, {}),
    },
    "release": {
        "ask": (MINISTRY, {"period": "2025-11"}),
        "sign": ("approver dawn-movement", {}),
        "drop": (MINISTRY, {}),
    },
}
"""Kind → act → by whom, and what is said; nothing of it breaks a rule but that of the state."""


@pytest.mark.parametrize(
    ("kind", "state"), [(kind, state) for kind, states in NEXT.items() for state in states]
)
def test_what_the_table_does_not_name_is_refused_and_changes_nothing(kind: str, state: str) -> None:
    found, outside = {}, set()
    for act, (who, said) in DOES[kind].items():
        stage, name = a_busy_stage(), SUBJECTS[kind][state == "none"]
        if state != "none":
            record = next(one for one in stage.register.of(kind) if one.id == name)
            stage.register.put(replace(record, state=state, version=record.version + 1))
        before = stage.everything()
        try:
            found[act] = stage.do(who, act, kind, name, said(stage) if callable(said) else said)[
                0
            ].record.state
        except Refused as refused:
            outside.add(refused.code)
            assert stage.everything() == before

    assert found == dict(cell.split(">") for cell in NEXT[kind][state].split())
    assert outside <= {"not_found", "not_in_this_state", "already_there", "not_a_partner"}


def test_the_table_above_holds_every_state_and_act_of_the_product() -> None:
    for kind, cycle in CYCLES.items():
        states = {state for row in cycle.rows for state in (*row.states.split(), *row.target.split())}

        assert states <= NEXT[kind].keys()
        assert cycle.names.keys() == DOES[kind].keys()
    assert NEXT.keys() == CYCLES.keys()


class Pledge(Content):
    """What a partner means to give: an aggregate that the product does not know."""

    kind: ClassVar[str] = "pledge"

    amount: int


class Increase(ActBody):
    by: int


TooSmall = define_refusal(__name__, "too_small", "Pledge more.")


@condition(TooSmall)
def _grows(_: Scene, __: Pledge, body: Increase) -> None:
    if body.by <= 0:
        raise TooSmall


PLEDGES = LifeCycle(
    content=Pledge,
    plural="pledges",
    id_kind="desk",
    most=2,
    waits="made",
    rows=(
        ActRow(NOTHING, "pledge", "seat", "made", Pledge, lambda _, __, body: Change(body)),
        ActRow("made", "raise", "seat", "made", Increase,
            lambda _, content, body: Change(Pledge(amount=content.amount + body.by)), (_grows,)),
        ActRow("made", "lapse", "clock", "lapsed", ActBody, lambda _, content, __: Change(content)),
    ),
    timer=lambda record: (NOON + timedelta(days=1), "lapse") if record.state == "made" else None,
)  # fmt: skip


class Played(NamedTuple):
    act: str
    body: dict[str, int]
    state: str | None
    amount: int
    refused: str = ""


def test_one_more_aggregate_is_one_file_with_its_table() -> None:
    stage = a_busy_stage()
    stage.cycles = {**CYCLES, "pledge": PLEDGES}

    for step in (
        Played("raise", {"by": 1}, None, 0, "not_found"),
        Played("pledge", {"amount": 5}, "made", 5),
        Played("pledge", {"amount": 5}, "made", 5, "already_there"),
        Played("raise", {"by": 0}, "made", 5, "too_small"),
        Played("raise", {"by": 2}, "made", 7),
        Played("lapse", {}, "made", 7, "role_may_not"),
    ):
        code = ""
        try:
            stage.do(MINISTRY, step.act, "pledge", "one", step.body)
        except Refused as refused:
            code = refused.code
        record: GovernanceRecord[Any] | None = stage.register.get("pledge", "one")
        assert (code, record and record.state) == (step.refused, step.state)
        assert (record.content.amount if record else 0) == step.amount

    stage.tick(timedelta(days=1))
    assert stage.state("pledge", "one") == "lapsed"


def test_governance_keeps_no_more_of_a_kind_than_its_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = a_busy_stage()
    stage.cycles = {**CYCLES, "pledge": PLEDGES}
    stage.do(MINISTRY, "pledge", "pledge", "one", {"amount": 1})
    with pytest.raises(Refused, match="too_many_open: "):  # no partner fills the table for all
        stage.do(MINISTRY, "pledge", "pledge", "two", {"amount": 1})
    monkeypatch.setattr(life_cycle, "SHARES", 1)
    stage = a_busy_stage()
    stage.cycles = {**CYCLES, "pledge": PLEDGES}
    for name in ("one", "two"):
        stage.do(MINISTRY, "pledge", "pledge", name, {"amount": 1})
    before = stage.everything()

    with pytest.raises(Refused, match="too_many: "):
        stage.do(MINISTRY, "pledge", "pledge", "three", {"amount": 1})

    assert stage.everything() == before
    stage.do(MINISTRY, "raise", "pledge", "two", {"by": 1})


def test_a_partner_has_so_many_of_a_kind_waiting_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life_cycle, "WAITING_MAX", 1)
    stage = a_busy_stage()
    stage.do(MINISTRY, "announce", "dialogue", "dlg_one", a_dialogue(NOON))

    with pytest.raises(Refused, match="too_many_open: "):
        stage.do(MINISTRY, "announce", "dialogue", "dlg_two", a_dialogue(NOON))

    stage.do(MINISTRY, "drop", "dialogue", "dlg_one")
    stage.do(MINISTRY, "announce", "dialogue", "dlg_two", a_dialogue(NOON))


def test_a_meeting_that_nobody_closes_ends_by_itself_and_decides_nothing_later() -> None:
    stage = a_busy_stage()

    facts = facts_of(stage.tick(timedelta(hours=16)))

    assert facts.count("meeting_held") == 2
    assert stage.state("meeting", "mtg_first") == "held"
    assert stage.state("decision", "dec_item") == "tabled"
