"""Who is told what: numbers without gap, one event for each party, and nothing to anybody else."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.events.codes import NEEDS
from schemas.events.life_cycle import State
from schemas.topics import INBOX, REFERRALS_FACTS
from services.referrals.domain.addressing import address_facts, count_numbers, numbers_from
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Outcome, due
from services.referrals.domain.steps import decide
from tests.support.builders import (
    OWNER,
    RECEIVER,
    SCHOOL,
    SECTOR_OF,
    STRANGER,
    a_consent,
    a_protocol,
    a_referral,
    a_step,
    an_agency,
    an_entry,
    an_offer,
    asked,
    in_force,
    organization_of,
)
from tests.support.clock import NOON


def told(*outcomes: Outcome, before: int = 0, known: InForce | None = None) -> list[Any]:
    counts = count_numbers(outcomes)
    last = {pair: before + count for pair, count in counts.items()}
    return list(address_facts(outcomes, numbers_from(counts, last), known or in_force()))


def to(agency: str, events: list[Any]) -> list[Any]:
    return [event.body for event in events if event.body.to == agency]


def history() -> list[Outcome]:
    """An offer, an acceptance, a refused second one, and a stranger's try."""
    outcomes = [decide(None, asked(an_offer()), in_force(), at=NOON)]
    for step in (a_step("accept"), a_step("accept"), a_step("accept", STRANGER), a_step("withdraw", OWNER)):
        outcomes.append(decide(outcomes[-1].referral, asked(step), in_force(), at=NOON))
    return outcomes


def test_each_party_gets_each_fact_once_and_only_the_asker_its_refusal() -> None:
    events = told(*history())

    assert [(fact.type, fact.number) for fact in to(OWNER, events)] == [
        ("referral.offered", 1), ("referral.accepted", 2), ("referral.withdrawn", 3),
    ]  # fmt: skip
    assert [(fact.type, fact.number) for fact in to(RECEIVER, events)] == [
        ("referral.offered", 1), ("referral.accepted", 2), ("referral.step_refused", 3),
        ("referral.withdrawn", 4),
    ]  # fmt: skip
    assert [(fact.type, fact.number) for fact in to(STRANGER, events)] == [("referral.step_refused", 1)]


LAPSED: dict[str, InForce] = {
    "agency_inactive": in_force(
        agencies=[an_agency(one, status="suspended" if one == RECEIVER else "active") for one in SECTOR_OF]
    ),
    "no_live_protocol": in_force(protocols=[a_protocol(valid_until=NOON)]),
}


@pytest.mark.parametrize("code", LAPSED)
@pytest.mark.parametrize("before", [None, State.DECLINED])
def test_harm_10_a_lapsed_or_suspended_agency_is_sent_nothing_and_the_owner_is_told(
    code: str, before: State | None
) -> None:
    known = LAPSED[code]
    referral = a_referral(before, protocol=known.current[0]) if before else None
    step = a_step("redirect", OWNER) if before else an_offer()

    [event] = told(decide(referral, asked(step), known, at=NOON), known=known)

    assert event.topic is INBOX[SECTOR_OF[OWNER]]
    assert (event.body.type, event.body.to, event.body.code) == ("referral.step_refused", OWNER, code)


def test_numbers_go_on_where_the_last_batch_ended() -> None:
    events = told(*history(), before=7)

    assert [fact.number for fact in to(OWNER, events)] == [8, 9, 10]


def test_facts_go_to_the_inboxes_of_the_parties_sectors_and_to_statistics_in_order() -> None:
    events = told(*history())

    assert [event.topic for event in events[:3]] == [
        INBOX["social_services"],
        INBOX["health"],
        REFERRALS_FACTS,
    ]
    assert [event.body.type for event in events if event.topic is REFERRALS_FACTS] == [
        "referral.offered", "referral.accepted", "referral.withdrawn",
    ]  # fmt: skip


def test_statistics_name_who_must_act_next_and_neither_party_nor_hop() -> None:
    offered, accepted, withdrawn = (
        event.body for event in told(*history()) if event.topic is REFERRALS_FACTS
    )

    assert (offered.awaits, offered.awaits_desk) == (RECEIVER, "front-desk")
    assert {"owner", "receiver", "service", "purpose", "answer_due_at", "to", "number"}.isdisjoint(
        offered.model_dump(exclude_none=True)
    )
    assert "appointment" not in accepted.model_dump(exclude_none=True)
    assert withdrawn.state == "withdrawn"


def test_who_must_act_after_an_end_or_an_answer() -> None:
    def awaits(state: State, verb: str, agency: str) -> tuple[str | None, str | None]:
        outcome = decide(a_referral(state), asked(a_step(verb, agency)), in_force(), at=NOON)
        fact = [event.body for event in told(outcome) if event.topic is REFERRALS_FACTS][-1]
        return fact.awaits, fact.awaits_desk

    assert awaits(State.OFFERED, "decline", RECEIVER) == (OWNER, "intake")
    assert awaits(State.FEEDBACK_GIVEN, "close", OWNER) == (RECEIVER, "front-desk")
    assert awaits(State.WITHDRAWN, "confirm_sealed", RECEIVER) == (None, None)


def test_a_school_sees_support_and_urgency_coarsely_and_danger_without_weapons() -> None:
    known = in_force(entries=[an_entry(organization=organization_of(SCHOOL))])
    offer = an_offer(needs=("school_support", "medical_care"), consent={"recipient": SCHOOL})
    outcome = decide(None, asked(offer), known, at=NOON)

    events = told(outcome, known=known)

    (seen,) = to(SCHOOL, events)
    assert seen.model_dump(include={"needs", "urgency", "immediate_danger", "weapons", "age_band"}) == {
        "needs": ("support", "support_at_school"),
        "urgency": "urgent",
        "immediate_danger": True,
        "weapons": False,
        "age_band": "young_adult",
    }
    (own,) = to(OWNER, events)
    assert own.model_dump()["needs"] == ("school_support", "medical_care")


def test_harm_27_whatever_happened_to_her_a_school_is_told_the_same() -> None:
    known = in_force(entries=[an_entry(organization=organization_of(SCHOOL))])

    told_school = set()
    for need in NEEDS - {"school_support"}:
        for weapons in (True, False):
            offer = an_offer(needs=(need,), weapons=weapons, consent={"recipient": SCHOOL})
            (seen,) = to(SCHOOL, told(decide(None, asked(offer), known, at=NOON), known=known))
            told_school.add(seen.model_dump_json(exclude={"happened_at"}))

    assert len(told_school) == 1


def test_two_agencies_of_one_sector_get_an_event_each() -> None:
    sister = an_agency("harbour-hospital", sector="health", organization=organization_of("sister"))
    agencies = [sister, *(an_agency(name) for name in SECTOR_OF)]
    known = in_force(agencies=agencies)
    referral = a_referral(owner="harbour-hospital", protocol=known.current[0])
    outcome = decide(referral, asked(a_step("accept")), known, at=NOON)

    events = told(outcome, known=known)

    assert [(event.topic, event.body.to, event.body.number) for event in events[:2]] == [
        (INBOX["health"], "harbour-hospital", 1),
        (INBOX["health"], RECEIVER, 1),
    ]


def test_a_forged_step_is_answered_in_the_forgers_inbox_without_a_number() -> None:
    forged = asked(a_step("accept", RECEIVER), sector="police")
    (event,) = told(decide(a_referral(), forged, in_force(), at=NOON))

    assert event.topic is INBOX["police"]
    assert (event.body.to, event.body.number, event.body.state) == (RECEIVER, None, None)


def test_a_step_on_an_unknown_referral_is_answered_to_the_asker_alone() -> None:
    (event,) = told(decide(None, asked(a_step("accept", STRANGER)), in_force(), at=NOON))

    assert (event.topic, event.body.to, event.body.number) == (INBOX["police"], STRANGER, 1)


def test_a_late_answer_tells_both_of_the_expiry_and_the_asker_of_the_refusal() -> None:
    late = NOON.replace(hour=14)
    events = told(decide(a_referral(), asked(a_step("accept")), in_force(), at=late))

    assert [fact.type for fact in to(OWNER, events)] == ["referral.expired"]
    assert [fact.type for fact in to(RECEIVER, events)] == ["referral.expired", "referral.step_refused"]


def test_a_reminder_goes_to_both_and_awaits_the_receiver() -> None:
    reminded = due(a_referral(), a_protocol(), at=NOON.replace(minute=30))
    assert reminded is not None

    events = told(reminded)

    assert [event.body.to for event in events] == [OWNER, RECEIVER, None]
    assert (events[-1].body.awaits, events[-1].caused_by) == (RECEIVER, None)


STATION = "22222222-0000-4000-8000-000000000002"


def test_two_agencies_that_lay_their_stores_together_do_not_find_her_in_both() -> None:
    """Harm 15: the first and the next receiver of a redirected referral share no id, cause or time."""
    at = NOON + timedelta(minutes=17, seconds=3)
    known = in_force(entries=[an_entry(), an_entry(STATION, organization_of(STRANGER))])
    step = a_step(
        "redirect", OWNER, service=STATION, count="again",
        consent=a_consent(recipient=STRANGER, groups=()),
    )  # fmt: skip
    outcome: Any = decide(a_referral(State.DECLINED, hop=3), asked(step), known, at=at)

    events = told(outcome, outcome.successor, known=known)

    old, new = ([event for event in events if event.body.to == agency] for agency in (RECEIVER, STRANGER))
    assert [event.body.type for event in old + new] == ["referral.redirected", "referral.offered"]
    common = traces(old[0]) & traces(new[0])
    assert common <= {OWNER, "1", old[0].body.protocol}, "the owner and the protocol join many, not her"
    assert (new[0].body.hop, new[0].body.count) == (None, None), "nor is she known to have been refused"
    owners = next(fact for fact in to(OWNER, events) if fact.type == "referral.redirected")
    assert (owners.successor, owners.hop) == (new[0].body.referral, 4)


def traces(event: Any) -> set[str]:
    """Whatever of an event could be laid beside another one."""
    said = event.body.model_dump(exclude_none=True, exclude={"to", "state"})
    return {str(value) for value in said.values()} | {str(event.at), str(event.caused_by)} - {"None"}
