"""What would stop later acts, or a reader on the bus, is refused when it is done, or cannot come about."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.events.governance_keys import sign
from services.governance.domain.areas import read_areas
from services.governance.domain.composition import SEATS_MAX
from services.governance.domain.life_cycle import RecordFull, UnknownReference
from services.governance.domain.protocols import SharingVersion
from services.governance.domain.publications import IdTaken
from services.governance.domain.tables import CYCLES
from services.runtime.errors import Refused
from tests.support.clock import NOON
from tests.support.governance import HOLDERS
from tests.support.stage import FOUNDERS, Stage, a_committee, a_protocol, described, facts_of

AREAS = read_areas((Path(__file__).parents[3] / "deploy/local/areas.csv").read_text("utf-8"))
OFFICE = "secretary un-office"
LATER = NOON + timedelta(days=300)


@pytest.fixture
def stage() -> Stage:
    stage = Stage(AREAS)
    stage.found()
    return stage


def admit(stage: Stage, name: str, constituency: str = "donor", **more: str) -> None:
    stage.do("seat ministry", "propose", "partner", name, described(constituency, **more))
    stage.do("approver dawn-movement", "confirm", "partner", name)


def an_open_meeting(stage: Stage, name: str = "mtg_one", committee: str = "cmt_steering") -> str:
    now = stage.clock.now()
    hours = {"begins_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}
    stage.do(OFFICE, "call", "meeting", name, {"committee": committee, **hours})
    stage.do(OFFICE, "open", "meeting", name)
    for partner in FOUNDERS:
        stage.do(f"seat {partner}", "attend", "meeting", name)
    return name


def table(
    stage: Stage,
    name: str,
    meeting: str,
    subject: str,
    about: str | None = None,
    committee: str = "cmt_steering",
) -> None:
    item = {"committee": committee, "meeting": meeting, "title": "An item", "subject": subject}
    stage.do("seat ministry", "table", "decision", name, {**item, "area": "ZZ", "about": about})
    stage.vote(name, "for", *FOUNDERS)


def a_signed_version(stage: Stage, version: int, meeting: str) -> str:
    """A version of a protocol that two holders have signed."""
    name = f"shared-care.{version}"
    document = a_protocol(("hill-health", "quay-police"), version)
    stage.do(OFFICE, "draft", "protocol", name, {"document": document.model_dump(mode="json")})
    table(stage, f"dec_version-{version}", meeting, "protocol", name)
    stage.do(OFFICE, "take", "decision", f"dec_version-{version}", {"method": "consensus"})
    record = stage.register.find(SharingVersion, name)
    for holder in HOLDERS[:2]:
        [one] = sign(record.content.signed, holder).signatures
        stage.do("approver ministry", "sign", "protocol", name, one.model_dump())
    return name


def test_a_seated_partner_leaves_and_its_seat_stands_empty(stage: Stage) -> None:
    told = stage.do("approver river-alliance", "leave", "partner", "river-alliance")

    assert facts_of(told) == ["partner_left", "seat_lost"] + ["committee_incomplete"] * (
        stage.state("committee", "cmt_steering") == "incomplete"
    )
    assert stage.state("partner", "river-alliance") == "left"


def test_a_committee_that_is_only_proposed_holds_nobody_and_is_not_adopted_without_its_partners(
    stage: Stage,
) -> None:
    admit(stage, "harbour-fund")
    below = a_committee(FOUNDERS, ("ministry", "dawn-movement"), LATER, above="cmt_steering")
    below |= {"type": "coordination", "secretariat": "harbour-fund"}
    stage.do(OFFICE, "propose", "committee", "cmt_below", below)
    table(stage, "dec_below", an_open_meeting(stage), "admission", "cmt_below")

    stage.do("approver harbour-fund", "leave", "partner", "harbour-fund")
    with pytest.raises(UnknownReference):
        stage.do(OFFICE, "take", "decision", "dec_below", {"method": "consensus"})

    assert stage.state("committee", "cmt_below") == "proposed"
    assert stage.state("decision", "dec_below") == "on_agenda"


def test_what_could_not_be_read_back_is_refused(stage: Stage) -> None:
    """Seats come and go in one meeting: a list that is longer than a reader takes would end every start."""
    meeting = an_open_meeting(stage)
    stage.do("seat open-hand-fund", "resign", "committee", "cmt_steering")
    guests = [f"guest-{number}" for number in range(SEATS_MAX - len(FOUNDERS) + 1)]
    for guest in guests:
        admit(stage, guest)
        body = {"partner": guest, "until": LATER.isoformat()}
        stage.do(OFFICE, "fill", "committee", "cmt_steering", body)
        if guest != guests[-1]:
            stage.do(f"seat {guest}", "attend", "meeting", meeting)
            stage.do(f"seat {guest}", "resign", "committee", "cmt_steering")

    with pytest.raises(RecordFull):
        stage.do(f"seat {guests[-1]}", "attend", "meeting", meeting)

    kept = stage.register.get("meeting", meeting)
    assert kept
    assert len(kept.content.present) == SEATS_MAX
    assert facts_of(stage.do(OFFICE, "close", "meeting", meeting)) == ["meeting_held"]


def test_an_id_names_a_partner_or_a_protocol(stage: Stage) -> None:
    admit(stage, "hill-health", "sector_agency", sector="health")
    admit(stage, "quay-police", "sector_agency", sector="police")
    document = a_protocol(("hill-health", "quay-police"))
    same = document.model_copy(update={"id": "ministry"})
    stage.do(OFFICE, "draft", "protocol", "shared-care.1", {"document": document.model_dump(mode="json")})

    with pytest.raises(IdTaken):
        stage.do(OFFICE, "draft", "protocol", "ministry.1", {"document": same.model_dump(mode="json")})
    with pytest.raises(IdTaken):
        admit(stage, "shared-care")


def test_a_version_older_than_what_was_ever_in_force_stays_out(stage: Stage) -> None:
    """Each reader refuses it for good: what it had in force would end, and nothing follow."""
    admit(stage, "hill-health", "sector_agency", sector="health")
    admit(stage, "quay-police", "sector_agency", sector="police")
    meeting = an_open_meeting(stage)
    first = a_signed_version(stage, 1, meeting)
    stage.tick()
    second, third = (a_signed_version(stage, version, meeting) for version in (2, 3))
    ended = stage.register.find(SharingVersion, third)
    stage.register.put(type(ended)(ended.id, "expired", ended.content, ended.version + 1))

    stage.tick(timedelta(days=2))

    states = [stage.state("protocol", name) for name in (first, second, third)]
    assert states == ["in_force", "replaced", "expired"]


def test_another_id_is_no_way_around_the_delay(stage: Stage) -> None:
    admit(stage, "hill-health", "sector_agency", sector="health")
    admit(stage, "quay-police", "sector_agency", sector="police")
    first = stage.register.find(SharingVersion, a_signed_version(stage, 1, an_open_meeting(stage)))
    stage.tick()

    other = first.content.document.model_copy(update={"id": "other-care"})
    stage.do(OFFICE, "draft", "protocol", "other-care.1", {"document": other.model_dump(mode="json")})
    drafted = stage.register.find(SharingVersion, "other-care.1")
    stage.register.put(replace(drafted, state="adopted", version=2))
    for holder in HOLDERS[:2]:
        [one] = sign(drafted.content.signed, holder).signatures
        stage.do("approver ministry", "sign", "protocol", "other-care.1", one.model_dump())

    waits = stage.register.find(SharingVersion, "other-care.1").content.in_force_at
    assert first.content.in_force_at == stage.clock.now()
    assert waits == stage.clock.now() + timedelta(days=1)


def test_an_item_goes_up_under_another_id_where_somebody_took_its_own() -> None:
    first = an_item_routed_up(taken=None)
    second = an_item_routed_up(taken=first)

    assert first != second


def an_item_routed_up(taken: str | None) -> str:
    """The id above of an item of a committee below; another item may have the id that it would get."""
    stage = Stage(AREAS)
    stage.found()
    meeting = an_open_meeting(stage)
    below = a_committee(FOUNDERS, ("ministry", "dawn-movement"), LATER, above="cmt_steering")
    stage.do(OFFICE, "propose", "committee", "cmt_below", below | {"type": "coordination"})
    mandate = {"committee": "cmt_below", "given_by": "cmt_steering", "subjects": ["protocol"], "area": "ZZ"}
    mandate |= {"valid_from": NOON.isoformat(), "valid_until": LATER.isoformat()}
    for number, about in enumerate(("cmt_below", "mdt_below")):
        if number:
            stage.do(OFFICE, "propose", "mandate", about, mandate)
        table(stage, f"dec_{number}", meeting, "admission", about)
        stage.do(OFFICE, "take", "decision", f"dec_{number}", {"method": "consensus"})
    if taken:
        table(stage, taken, meeting, "recommendation")
    there = an_open_meeting(stage, "mtg_below", "cmt_below")
    table(stage, "dec_high", there, "recommendation", committee="cmt_below")
    told = stage.do(OFFICE, "take", "decision", "dec_high", {"method": "consensus"})
    assert facts_of(told) == ["decision_routed_up"]
    return told[1].record.id


def test_each_refusal_of_a_follow_up_is_a_refusal_of_the_decision(stage: Stage) -> None:
    told: set[type[Refused]] = set(CYCLES["decision"].refusals("take"))

    for kind in ("committee", "mandate", "protocol"):
        assert told >= set(CYCLES[kind].refusals("adopt"))
