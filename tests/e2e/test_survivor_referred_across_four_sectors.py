"""Journeys through the agencies' ports: a referral end to end, refusals, withdrawal, a trail that is away."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.agencies import Agency, Offered
from services.cli.demo.founding import protocol
from services.cli.demo.stage import Stage
from services.cli.demo.stories import (
    ACCEPT,
    ACKNOWLEDGE,
    CANCEL,
    CLOSE,
    DECLINE,
    FEEDBACK,
    PROVIDE,
    SEAL,
    START,
    WITHDRAW,
    Move,
)
from services.cli.directory import Report, import_directory
from services.cli.installed import operator_client
from services.runtime.clock import SystemClock
from tests.e2e.conftest import Session
from tests.e2e.desk import Desk
from tests.support.shared import shared_data

UNKNOWN = "ref_" + "a" * 26
EXPIRING = 2


@dataclass(frozen=True)
class Desks:
    """One agency of each sector; the social services own the referral, health receives it."""

    stage: Stage
    social: Desk
    health: Desk
    police: Desk
    education: Desk
    expiring: Iterator[str]
    """Critical referrals from the social services to health, offered at once: they expire meanwhile."""


@pytest.fixture(scope="module")
def desks(session: Session) -> Iterator[Desks]:
    first = {agency.sector: agency for agency in reversed(session.stage.agencies)}
    made = {sector: Desk(session.stage, agency) for sector, agency in first.items()}
    owner, receiver = made["social_services"], made["health"]
    expiring = [owner.offer(receiver.agency, urgency="critical") for _ in range(EXPIRING)]
    yield Desks(session.stage, owner, receiver, made["police"], made["education"], iter(expiring))
    for desk in made.values():
        desk.http.close()


def in_state(owner: Desk, receiver: Desk, *moves: tuple[str, Move], **offer: Any) -> str:
    """A referral after these moves, as both parties were told."""
    referral = owner.offer(receiver.agency, **offer)
    receiver.told(referral, "referral.offered")
    owner.told(referral, "referral.offered")
    for by, move in moves:
        mover, other = (owner, receiver) if by == "owner" else (receiver, owner)
        mover.take(referral, move)
        other.told(referral, move.fact)
    return referral


ACCEPTED = (("receiver", ACKNOWLEDGE), ("receiver", ACCEPT))
PROVIDED = (*ACCEPTED, ("receiver", START), ("receiver", PROVIDE))


def test_a_referral_goes_from_the_offer_to_the_sealed_copy(desks: Desks) -> None:
    owner, receiver = desks.social, desks.health
    referral = in_state(owner, receiver, feedback=True)

    waiting = receiver.get("/v1/worklist").json()["data"]
    shown = receiver.get(f"/v1/referrals/{referral}")
    receiver.take(referral, ACKNOWLEDGE, ACCEPT, START, PROVIDE, FEEDBACK)
    owner.told(referral, "referral.feedback_given")
    owner.take(referral, CLOSE)
    receiver.told(referral, "referral.closed")
    receiver.take(referral, SEAL)
    owner.told(referral, "referral.sealed")

    assert referral in [row["referral"] for row in waiting]
    assert shown.headers["etag"] == '"1"'
    assert shown.json()["state"] == "offered"
    assert shown.json()["offer"]["owner"] == owner.agency.id
    ends = [desk.get(f"/v1/referrals/{referral}").json() for desk in (owner, receiver)]
    assert [end["state"] for end in ends] == ["sealed", "sealed"]
    for desk in (owner, receiver):
        numbers = [row["number"] for row in desk.events(referral)]
        assert numbers == list(range(1, len(numbers) + 1))
    assert ends[0]["case"].startswith("cas_")
    assert "case" not in ends[1]


@pytest.mark.parametrize(("owner", "receiver"), [
    ("police", "education"), ("education", "social"), ("health", "police"),
])  # fmt: skip
def test_every_sector_offers_and_accepts(desks: Desks, owner: str, receiver: str) -> None:
    offering, accepting = getattr(desks, owner), getattr(desks, receiver)

    referral = in_state(offering, accepting, *ACCEPTED)

    assert offering.get(f"/v1/referrals/{referral}").json()["state"] == "accepted"


def test_education_sees_a_need_in_coarse_form_only(desks: Desks) -> None:
    to_school = in_state(desks.police, desks.education)
    to_police = in_state(desks.education, desks.police)

    school = desks.education.get(f"/v1/referrals/{to_school}").json()["offer"]
    police = desks.police.get(f"/v1/referrals/{to_police}").json()["offer"]
    assert police["needs"] == list(desks.police.agency.services[0].needs)
    assert school["needs"] != list(desks.education.agency.services[0].needs)


def test_a_step_out_of_order_is_refused_by_the_arbiter(desks: Desks) -> None:
    referral = in_state(desks.social, desks.health)

    assert desks.health.refused(referral, desks.health.step(referral, START)) == "wrong_state"
    assert desks.health.get(f"/v1/referrals/{referral}").json()["state"] == "offered"


def test_the_owner_cannot_accept_for_the_receiver(desks: Desks) -> None:
    referral = in_state(desks.social, desks.health)

    assert desks.social.refused(referral, desks.social.step(referral, ACCEPT)) == "not_a_party"


def test_an_acceptance_after_the_deadline_is_too_late(desks: Desks) -> None:
    referral = next(desks.expiring)
    desks.health.told(referral, "referral.reminded")
    desks.health.told(referral, "referral.expired")

    assert desks.health.refused(referral, desks.health.step(referral, ACCEPT)) == "too_late"


def test_an_outcome_that_no_table_lists_is_refused_at_the_door(desks: Desks) -> None:
    referral = in_state(desks.social, desks.health, *ACCEPTED, ("receiver", START))

    asked = desks.health.step(referral, replace(PROVIDE, body={"outcome": "unheard_of"}))

    assert (asked.status_code, asked.json()["errors"][0]["detail"]) == (422, "unknown_code")


def test_a_closed_or_unknown_service_is_refused_as_stale(desks: Desks) -> None:
    for service in ("00000000-0000-4000-8000-000000000000", closed_service(desks)):
        body = desks.social.offer_body(desks.health.agency, service=service)
        answer = desks.social.post("/v1/referrals", body)

        assert desks.social.refused(answer.json()["referral"], answer) == "entry_stale"


def closed_service(desks: Desks) -> str:
    rows = desks.social.get("/v1/services?limit=200").json()["data"]
    return str(next(row["service"] for row in rows if row["status"] == "temporarily closed"))


def test_consent_for_one_agency_does_not_cover_another_ones_service(desks: Desks) -> None:
    service = desks.police.agency.services[0].id
    body = desks.social.offer_body(desks.health.agency, service=service)

    answer = desks.social.post("/v1/referrals", body)

    assert desks.social.refused(answer.json()["referral"], answer) == "consent_does_not_cover"


def test_a_recipient_that_she_did_not_name_is_refused_at_once(desks: Desks) -> None:
    body = desks.social.offer_body(desks.health.agency) | {"recipient": desks.police.agency.id}

    answer = desks.social.post("/v1/referrals", body)

    assert (answer.status_code, answer.json()["code"]) == (403, "consent_does_not_cover")


def test_an_agency_outside_every_protocol_gets_nothing(desks: Desks, session: Session) -> None:
    stranger = replace(
        desks.health.agency,
        id="marsh-clinic",
        organization="11111111-0000-4000-8000-0000000000aa",
        services=(Offered("11111111-0000-4000-8000-0000000000ab", ("medical_care",)),),
    )
    session.loop.call(list_service(session.stage, stranger))
    with pytest.raises(KeyError):
        desks.social.consent(stranger)  # refused, so without an id
    session.loop.call(admit(session.stage, stranger))
    wait_until_known(desks, stranger)

    assert eventually(lambda: offer_to(desks, stranger), "no_live_protocol")


def offer_to(desks: Desks, agency: Agency) -> str:
    answer = desks.social.post("/v1/referrals", desks.social.offer_body(agency))
    return desks.social.refused(answer.json()["referral"], answer)


async def list_service(stage: Stage, agency: Agency) -> None:
    entry = {
        "service": agency.services[0].id,
        "organization": agency.organization,
        "title": "Marsh clinic",
        "organization_title": "Marsh clinic",
        "status": "active",
        "needs": ["medical_care"],
        "desk": "duty",
        "confirmed_at": "2026-01-01T00:00:00Z",
    }
    async with operator_client(stage.installation, "referrals") as client:
        answer = await client.post("/v1/directory", json={"entries": [entry]})
        assert answer.status_code == 200, answer.text


async def admit(stage: Stage, agency: Agency) -> None:
    from services.cli.demo.founding import admission

    async with operator_client(stage.installation, "governance") as client:
        answer = await client.put(f"/v1/agencies/{agency.id}", json=admission(agency, version=1))
        assert answer.status_code == 200, answer.text


def wait_until_known(desks: Desks, agency: Agency) -> None:
    def known() -> str | None:
        rows = desks.social.get("/v1/services?limit=200").json()["data"]
        return next((row["agency"] for row in rows if row["service"] == agency.services[0].id), None)

    assert eventually(known, agency.id)


def eventually(ask: Any, wanted: Any, within_seconds: float = 30.0) -> bool:
    """Ask until the answer is the one that is wanted."""
    ends = time.monotonic() + within_seconds
    while ask() != wanted:
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


def test_a_real_directory_is_listed_and_nobody_in_it_gets_a_referral(desks: Desks, session: Session) -> None:
    path = shared_data("hsds/real-florida-legal-aid/services.csv", cases=135)

    report = session.loop.call(import_real(session.stage, path))
    listed = eventually_listed(desks)
    body = desks.social.offer_body(desks.health.agency, service=listed["service"], needs=["legal_aid"])
    answer = desks.social.post("/v1/referrals", body)

    assert (report.read, report.taken, report.refused) == (135, 135, [])
    assert desks.social.refused(answer.json()["referral"], answer) == "agency_inactive"


async def import_real(stage: Stage, path: Path) -> Report:
    async with operator_client(stage.installation, "referrals") as client:
        return await import_directory(path, client, SystemClock().now())


def eventually_listed(desks: Desks) -> Any:
    """An entry whose organisation is not admitted, once this sector lists it."""
    found: list[Any] = []

    def is_listed() -> bool:
        rows = desks.social.get("/v1/services?limit=200").json()["data"]
        found[:] = [row for row in rows if row["agency"] is None and row["needs"] == ["legal_aid"]]
        return bool(found)

    assert eventually(is_listed, True)
    return found[0]


def test_feedback_that_she_did_not_allow_is_refused(desks: Desks) -> None:
    referral = in_state(desks.social, desks.health, *PROVIDED, feedback=False)

    answer = desks.health.step(referral, FEEDBACK)

    assert (answer.status_code, answer.json()["code"]) == (403, "consent_does_not_cover")


def test_a_decline_for_a_reason_that_the_sector_does_not_have_is_refused(desks: Desks) -> None:
    referral = in_state(desks.social, desks.police)

    answer = desks.police.step(referral, replace(DECLINE, body={"reason": "language_not_served"}))

    assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (422, "unknown_code")


WITHDRAWN_FROM: dict[str, tuple[tuple[tuple[str, Move], ...], dict[str, Any]]] = {
    "offered": ((), {}),
    "acknowledged": ((("receiver", ACKNOWLEDGE),), {}),
    "accepted": (ACCEPTED, {}),
    "in_service": ((*ACCEPTED, ("receiver", START)), {}),
    "provided": (PROVIDED, {}),
    "feedback_given": ((*PROVIDED, ("receiver", FEEDBACK)), {"feedback": True}),
    "declined": ((("receiver", DECLINE),), {}),
    "expired": ((), {}),
    "cancelled": ((("owner", CANCEL),), {}),
    "closed": ((*PROVIDED, ("owner", CLOSE)), {}),
    "sealed": ((("owner", CANCEL), ("receiver", SEAL)), {}),
}
STAYS = frozenset({"cancelled", "closed"})
"""After the end a withdrawal brings the sealing forward; the state stays."""


@pytest.mark.parametrize("state", WITHDRAWN_FROM)
def test_she_can_withdraw_whatever_has_happened(desks: Desks, state: str) -> None:
    moves, offer = WITHDRAWN_FROM[state]
    if state == "expired":
        referral = next(desks.expiring)
        desks.social.told(referral, "referral.expired")
    else:
        referral = in_state(desks.social, desks.health, *moves, **offer)

    answer = desks.social.step(referral, WITHDRAW)

    if state == "sealed":
        assert desks.social.refused(referral, answer) == "wrong_state"
        return
    fact = desks.health.told(referral, "referral.withdrawn")
    assert answer.status_code == 202
    assert fact["state"] == (state if state in STAYS else "withdrawn")
    assert desks.health.refused(referral, desks.health.step(referral, ACCEPT)) in ("withdrawn", "wrong_state")


def test_after_a_withdrawal_the_receiver_sees_nothing_of_the_offer(desks: Desks) -> None:
    referral = in_state(desks.social, desks.health, *ACCEPTED, ("owner", WITHDRAW))

    assert desks.health.get(f"/v1/referrals/{referral}").json()["offer"] is None


def test_a_consent_that_was_withdrawn_covers_no_further_offer(desks: Desks) -> None:
    body = desks.social.offer_body(desks.health.agency)
    referral = desks.social.post("/v1/referrals", body).json()["referral"]
    desks.social.told(referral, "referral.offered")
    withdrawn = desks.social.step(referral, WITHDRAW)

    again = desks.social.post("/v1/referrals", body)

    assert withdrawn.status_code == 202
    assert (again.status_code, again.json()["code"]) == (403, "consent_does_not_cover")


def test_without_the_trail_nothing_is_shown_and_everything_can_still_be_sent(
    desks: Desks, session: Session
) -> None:
    referral = in_state(desks.social, desks.health)
    platform = session.stage.platform
    session.loop.call(platform.stop("audit"))
    try:
        paths = (f"/v1/referrals/{referral}", "/v1/worklist")
        with ThreadPoolExecutor() as pool:  # each waits for the trail as long as it may
            read, listed = pool.map(desks.health.get, paths)
        accepted = desks.health.step(referral, ACCEPT)
        offered = desks.social.post("/v1/referrals", desks.social.offer_body(desks.health.agency))
        desks.social.told(referral, "referral.accepted")
    finally:
        session.loop.call(platform.start("audit"))

    assert [answer.status_code for answer in (read, listed)] == [503, 503]
    assert read.headers["retry-after"]
    assert read.json()["code"] == "trail_unavailable"
    assert "offer" not in read.text.replace("offers", "")
    assert [answer.status_code for answer in (accepted, offered)] == [202, 202]
    assert eventually(lambda: desks.health.get(f"/v1/referrals/{referral}").status_code, 200)


def test_a_protocol_that_has_ended_lets_no_offer_through(desks: Desks, session: Session) -> None:
    parties = [agency.id for agency in session.stage.agencies]
    live = protocol(parties)
    ended = live | {"version": 2, "valid_until": live["valid_from"], "valid_from": "2020-01-01T00:00:00Z"}
    session.loop.call(publish(session.stage, ended))
    try:
        assert eventually(lambda: outcome_of_offer(desks), "no_live_protocol")
    finally:
        session.loop.call(publish(session.stage, live | {"version": 3}))
    assert eventually(lambda: outcome_of_offer(desks), "offered")


async def publish(stage: Stage, document: dict[str, Any]) -> None:
    async with operator_client(stage.installation, "governance") as client:
        answer = await client.put("/v1/protocols/demo-protocol", json=document)
        assert answer.status_code == 200, answer.text


def outcome_of_offer(desks: Desks) -> str:
    answer = desks.social.post("/v1/referrals", desks.social.offer_body(desks.health.agency))
    referral = answer.json()["referral"]
    event = desks.social.until(referral, lambda row: True)
    return str(event.get("code") or event["state"])
