"""The gate: one thing wrong at a time, and the order where several are."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.events.governance import document_hash
from schemas.events.referral import OfferReferral
from services.referrals.domain.gate import InForce
from services.referrals.domain.steps import decide
from tests.support.builders import (
    OWNER,
    RECEIVER,
    SCHOOL,
    SECTOR_OF,
    STRANGER,
    a_protocol,
    an_agency,
    an_entry,
    an_offer,
    asked,
    in_force,
    organization_of,
)
from tests.support.clock import NOON

DAY = timedelta(days=1)


def agencies_but(*changed: object) -> list[object]:
    names = {one.agency for one in changed}  # type: ignore[attr-defined]
    return [*changed, *(an_agency(name) for name in SECTOR_OF if name not in names)]


def offered(offer: OfferReferral, known: InForce) -> Any:
    return decide(None, asked(offer), known, at=NOON)


def test_a_sound_offer_passes_and_takes_its_deadlines_from_the_protocol() -> None:
    outcome = offered(an_offer(urgency="urgent"), in_force())

    assert outcome.refusal is None
    assert (outcome.referral.owner, outcome.referral.receiver) == (OWNER, RECEIVER)
    assert (outcome.referral.owner_desk, outcome.referral.receiver_desk) == ("intake", "front-desk")
    assert outcome.referral.deadlines["acknowledge"].by_at == NOON + timedelta(hours=1)
    assert outcome.referral.deadlines["answer"].by_at == NOON + timedelta(hours=3)
    assert [fact.type for fact in outcome.facts] == ["referral.offered"]


def suspended(agency: str) -> InForce:
    return in_force(agencies=agencies_but(an_agency(agency, status="suspended")))  # type: ignore[arg-type]


def with_protocol(**changes: object) -> InForce:
    return in_force(protocols=[a_protocol(**changes)])


def with_entry(**changes: object) -> InForce:
    return in_force(entries=[an_entry(**changes)])  # type: ignore[arg-type]


REFUSED = {
    "a need that no table lists": (an_offer(needs=("time_travel",)), in_force(), "unknown_code"),
    "an access need that no table lists": (an_offer(access_needs=("magic",)), in_force(), "unknown_code"),
    "a purpose that no table lists": (an_offer(consent={"purpose": "study"}), in_force(), "unknown_code"),
    "the owner is suspended": (an_offer(), suspended(OWNER), "agency_inactive"),
    "the receiver is suspended": (an_offer(), suspended(RECEIVER), "agency_inactive"),
    "the organisation was never admitted": (
        an_offer(),
        with_entry(organization=organization_of("nobody")),
        "agency_inactive",
    ),
    "its sector has no inbox": (
        an_offer(),
        in_force(agencies=agencies_but(an_agency(RECEIVER, sector="justice"))),  # type: ignore[arg-type]
        "agency_inactive",
    ),
    "no protocol": (an_offer(), in_force(protocols=[]), "no_live_protocol"),
    "a protocol without the receiver": (
        an_offer(),
        with_protocol(parties=(OWNER, STRANGER)),
        "no_live_protocol",
    ),
    "a protocol of tomorrow": (an_offer(), with_protocol(valid_from=NOON + DAY), "no_live_protocol"),
    "a protocol that ends now": (an_offer(), with_protocol(valid_until=NOON), "no_live_protocol"),
    "an offer to oneself": (
        an_offer(consent={"recipient": OWNER}),
        with_entry(organization=organization_of(OWNER)),
        "no_live_protocol",
    ),
    "a service that the directory does not list": (an_offer(), in_force(entries=[]), "entry_stale"),
    "an entry that is closed": (an_offer(), with_entry(status="temporarily closed"), "entry_stale"),
    "an entry confirmed too long ago": (
        an_offer(),
        with_entry(confirmed_at=NOON - 180 * DAY - timedelta(seconds=1)),
        "entry_stale",
    ),
    "consent for another recipient": (
        an_offer(consent={"recipient": SCHOOL}),
        in_force(),
        "consent_does_not_cover",
    ),
    "consent that ends now": (an_offer(consent={"expires_at": NOON}), in_force(), "consent_does_not_cover"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_an_offer_is_refused_for_the_thing_that_is_wrong(wrong: str) -> None:
    offer, known, code = REFUSED[wrong]

    outcome = offered(offer, known)

    assert outcome.referral is None
    assert outcome.facts == ()
    assert outcome.refusal.fact.code == code
    assert outcome.refusal.fact.state is None


def test_the_first_thing_that_is_wrong_is_the_one_that_is_named() -> None:
    everything = an_offer(needs=("time_travel",), consent={"expires_at": NOON})
    no_codes = an_offer(consent={"expires_at": NOON})
    stale = an_entry(confirmed_at=NOON - 400 * DAY)

    codes = [
        offered(everything, in_force(agencies=[an_agency(OWNER)], protocols=[], entries=[stale])),
        offered(no_codes, in_force(agencies=[an_agency(OWNER)], protocols=[], entries=[stale])),
        offered(no_codes, in_force(protocols=[], entries=[stale])),
        offered(no_codes, in_force(entries=[stale])),
        offered(no_codes, in_force()),
    ]

    assert [outcome.refusal and outcome.refusal.fact.code for outcome in codes] == [
        "unknown_code", "agency_inactive", "no_live_protocol", "entry_stale", "consent_does_not_cover",
    ]  # fmt: skip


NEXT_YEAR = {"version": 2, "valid_from": NOON + DAY, "parties": (OWNER, STRANGER)}


def test_the_next_version_of_a_protocol_shuts_no_door_before_it_begins() -> None:
    now, later = a_protocol(), a_protocol(**NEXT_YEAR)

    outcome = offered(an_offer(), in_force(protocols=[later, now]))

    assert outcome.referral.protocol == document_hash(now)


@pytest.mark.parametrize("changes", [{}, {"valid_until": NOON, "parties": (OWNER, RECEIVER)}])
def test_once_the_next_version_has_begun_the_last_one_opens_no_door(changes: dict[str, object]) -> None:
    begun = a_protocol(**NEXT_YEAR | {"valid_from": NOON - DAY} | changes)

    outcome = offered(an_offer(), in_force(protocols=[begun, a_protocol()]))

    assert outcome.refusal.fact.code == "no_live_protocol"


def test_a_suspended_agency_of_the_organisation_gives_way_to_an_active_one() -> None:
    old = an_agency(
        "clinic-before", sector="health", organization=organization_of(RECEIVER), status="suspended"
    )

    outcome = offered(an_offer(), in_force(agencies=agencies_but(old)))  # type: ignore[arg-type]

    assert outcome.referral.receiver == RECEIVER
