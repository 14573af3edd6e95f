"""Journeys through the agencies' ports: a referral end to end, refusals, withdrawal, a trail that is away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import pytest

from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client, publish_services
from schemas.events.governance import ServiceCurrent
from schemas.events.governance_keys import GovernanceKeys
from schemas.topics import SECTORS
from services.cli.agency_client import (
    ACCEPT,
    ACKNOWLEDGE,
    CANCEL,
    CLOSE,
    DECLINE,
    DESK,
    FEEDBACK,
    PROVIDE,
    SEAL,
    START,
    WITHDRAW,
    AgencyClient,
    AgencyStep,
    Json,
    consent_to,
)
from services.cli.demo.partners import partnership
from services.cli.demo.trial import Trial, admission, protocol, publish, until
from services.cli.directory import import_directory
from services.runtime.clock import SystemClock
from tests.e2e.conftest import Session
from tests.support.shared import shared_data

EXPIRING = 2


@dataclass(frozen=True)
class Sectors:
    """One agency of each sector; the social services own the referral, health receives it."""

    trial: Trial
    social_services: AgencyClient
    health: AgencyClient
    police: AgencyClient
    education: AgencyClient
    civil_society: AgencyClient
    expiring: Iterator[str]
    """Critical referrals from the social services to health, offered at once: they expire meanwhile."""

    async def in_state(self, *steps: AgencyStep, **offer: Any) -> str:
        """A referral after these steps, as both parties were told."""
        return await in_state(self.social_services, self.health, *steps, **offer)

    async def refused(self, **offer: Any) -> str | None:
        """The arbiter's answer to an offer that it refuses."""
        owner = self.social_services
        return (await owner.answer(await owner.offer(await owner.prepare(self.health.agency, **offer)))).code


@pytest.fixture(scope="module")
async def sectors(session: Session) -> Sectors:
    trial = session.trial
    first = {client.agency.sector: client for client in reversed(list(trial.clients.values()))}
    owner, recipient = first["social_services"], first["health"].agency
    bodies = [await owner.prepare(recipient, urgency="critical") for _ in range(EXPIRING)]
    expiring = [(await owner.offer(body)).referral for body in bodies]
    return Sectors(trial, **first, expiring=iter(expiring))


async def in_state(owner: AgencyClient, receiver: AgencyClient, *steps: AgencyStep, **offer: Any) -> str:
    sent = await owner.offer(await owner.prepare(receiver.agency, **offer))
    for party in (owner, receiver):
        await party.told(sent.referral, "referral.offered")
    await take(owner, receiver, sent.referral, *steps)
    return sent.referral


async def take(owner: AgencyClient, receiver: AgencyClient, referral: str, *steps: AgencyStep) -> None:
    """Steps one after the other, each once both parties were told of the one before."""
    for step in steps:
        mover = owner if step.by == "owner" else receiver
        sent = await mover.step(referral, step)
        assert sent
        assert (await mover.answer(sent)).type == step.fact
        for party in (owner, receiver):
            await party.told(referral, step.fact)


async def refusal(client: AgencyClient, referral: str, step: AgencyStep) -> str | None:
    """The arbiter's refusal of a step that was answered 202."""
    sent = await client.step(referral, step)
    assert sent
    return (await client.until(referral, lambda event: event.step == sent.id)).code


async def post_step(client: AgencyClient, referral: str, step: AgencyStep) -> httpx2.Response:
    headers = {"If-Match": f'"{client.number(referral)}"'}
    path = f"/v1/referrals/{referral}/{step.resource}"
    return await client.request("POST", path, {"duty": DESK, **step.body}, headers=headers)


ACCEPTED = (ACKNOWLEDGE, ACCEPT)
PROVIDED = (*ACCEPTED, START, PROVIDE)


async def test_a_referral_goes_from_the_offer_to_the_sealed_copy(sectors: Sectors) -> None:
    owner, receiver = sectors.social_services, sectors.health
    referral = await sectors.in_state(feedback=True)

    waiting = await receiver.read_worklist()
    shown = await receiver.request("GET", f"/v1/referrals/{referral}")
    await take(owner, receiver, referral, *PROVIDED, FEEDBACK, CLOSE, SEAL)

    assert referral in [row["referral"] for row in waiting]
    assert shown.headers["etag"] == '"1"'
    assert shown.json()["state"] == "offered"
    assert shown.json()["offer"]["owner"] == owner.agency.id
    ends = [await party.read_referral(referral) for party in (owner, receiver)]
    assert [end["state"] for end in ends] == ["sealed", "sealed"]
    for party in (owner, receiver):
        numbers = [event.number for event in party.events[referral]]
        assert numbers == list(range(1, len(numbers) + 1))
    assert ends[0]["case"].startswith("cas_")
    assert "case" not in ends[1]


@pytest.mark.parametrize(("owner", "receiver"), [
    ("police", "education"), ("education", "social_services"), ("health", "police"),
    ("social_services", "civil_society"), ("civil_society", "health"),
])  # fmt: skip
async def test_every_sector_offers_and_accepts(sectors: Sectors, owner: str, receiver: str) -> None:
    offering, accepting = getattr(sectors, owner), getattr(sectors, receiver)

    referral = await in_state(offering, accepting, *ACCEPTED)

    assert (await offering.read_referral(referral))["state"] == "accepted"


async def test_education_sees_a_need_in_coarse_form_only(sectors: Sectors) -> None:
    to_school = await in_state(sectors.police, sectors.education)
    to_police = await in_state(sectors.education, sectors.police)

    school = (await sectors.education.read_referral(to_school))["offer"]
    police = (await sectors.police.read_referral(to_police))["offer"]

    for seen, client, is_whole in ((police, sectors.police, True), (school, sectors.education, False)):
        needs = next(iter(client.agency.services.values()))
        assert (seen["needs"] == list(needs)) is is_whole


async def test_a_step_out_of_order_is_refused_by_the_arbiter(sectors: Sectors) -> None:
    referral = await sectors.in_state()

    assert await refusal(sectors.health, referral, START) == "wrong_state"
    assert (await sectors.health.read_referral(referral))["state"] == "offered"


async def test_the_owner_cannot_accept_for_the_receiver(sectors: Sectors) -> None:
    referral = await sectors.in_state()

    assert await refusal(sectors.social_services, referral, ACCEPT) == "not_a_party"


async def test_an_acceptance_after_the_deadline_is_too_late(sectors: Sectors) -> None:
    referral = next(sectors.expiring)
    await sectors.health.told(referral, "referral.reminded")
    await sectors.health.told(referral, "referral.expired")

    assert await refusal(sectors.health, referral, ACCEPT) == "too_late"


async def test_an_outcome_that_no_table_lists_is_refused_at_the_door(sectors: Sectors) -> None:
    referral = await sectors.in_state(*ACCEPTED, START)

    answer = await post_step(sectors.health, referral, replace(PROVIDE, body={"outcome": "unheard_of"}))

    assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (422, "unknown_code")


async def test_a_closed_or_unknown_service_is_refused_as_stale(sectors: Sectors) -> None:
    rows = await sectors.social_services.services()
    closed = next(row["service"] for row in rows if row["status"] == "temporarily closed")

    for service in ("00000000-0000-4000-8000-000000000000", closed):
        assert await sectors.refused(service=service) == "entry_stale"


async def test_consent_for_one_agency_does_not_cover_another_ones_service(sectors: Sectors) -> None:
    service = next(iter(sectors.police.agency.services))

    assert await sectors.refused(service=service) == "consent_does_not_cover"


async def test_a_recipient_that_she_did_not_name_is_refused_at_once(sectors: Sectors) -> None:
    owner = sectors.social_services
    body = await owner.prepare(sectors.health.agency, recipient=sectors.police.agency.id)

    answer = await owner.request("POST", "/v1/referrals", body)

    assert (answer.status_code, answer.json()["code"]) == (403, "consent_does_not_cover")


async def test_an_agency_outside_every_protocol_gets_nothing(sectors: Sectors) -> None:
    owner, trial = sectors.social_services, sectors.trial
    service, needs = "11111111-0000-4000-8000-0000000000ab", ("medical_care",)
    stranger = replace(
        next(agency for agency in trial.agencies if agency.sector == "health"),
        id="marsh-clinic",
        organization="11111111-0000-4000-8000-0000000000aa",
        services={service: needs},
    )
    entry = {
        "service": service,
        "organization": stranger.organization,
        "title": "Marsh clinic",
        "organization_title": "Marsh clinic",
        "status": "active",
        "needs": needs,
        "desk": DESK,
        "confirmed_at": "2026-01-01T00:00:00Z",
    }
    async with operator_client(trial.installation, "referrals") as client:
        assert (await client.post("/v1/directory", json={"entries": [entry]})).is_success
    consents = f"/v1/cases/{await owner.open_case()}/consents"
    refused = await owner.request("POST", consents, consent_to(stranger, feedback=False))
    async with partnership(trial.installation, trial.issuer, trial.agencies) as partners:
        await partners.admit(stranger)
    await publish(
        trial,
        f"/v1/agencies/{stranger.id}",
        admission(AgencyClient(stranger, "", sectors.trial.issuer), version=1),
    )

    async def is_known() -> bool:
        return any(row["agency"] == stranger.id for row in await owner.services())

    await until(is_known, "the stranger is known")
    assert refused.json()["code"] == "recipient_not_admitted"
    assert (await owner.answer(await owner.offer(await owner.prepare(stranger)))).code == "no_live_protocol"


async def test_every_sector_knows_the_keys_of_each_service_as_two_holders_signed_them(
    sectors: Sectors,
) -> None:
    installation = sectors.trial.installation
    keys = GovernanceKeys.read(installation.governance_keys_file.read_bytes())
    wanted = {
        sector: [installation.secrets.public_key(f"{name}-{sector}") for name in ("signing", "vault")]
        for sector in SECTORS
    }

    async def is_known(sector: str) -> bool:
        async with installation.server.connection(DATABASES[sector].name) as connection:
            rows = await connection.fetch("SELECT CAST(document AS text) FROM service_key")
        bodies = [ServiceCurrent.model_validate_json(row[0]) for row in rows]
        for body in bodies:
            keys.check(body)
        return {body.service: [body.signing_key, body.vault_key] for body in bodies} == wanted

    for sector in SECTORS:
        await until(partial(is_known, sector), f"{sector} knows every service's keys")
    await publish_services(installation, print)  # as the next start does
    async with operator_client(installation, "governance") as client:
        listed = (await client.get("/v1/services")).json()["data"]
    assert {row["id"]: row["version"] for row in listed} == dict.fromkeys(SECTORS, 1)


async def test_a_real_directory_is_listed_and_nobody_in_it_gets_a_referral(sectors: Sectors) -> None:
    path = shared_data("hsds/real-florida-legal-aid/services.csv", cases=135)
    listed: list[Json] = []

    async def is_listed() -> bool:
        rows = await sectors.social_services.services()
        listed[:] = [row for row in rows if row["agency"] is None and row["needs"] == ["legal_aid"]]
        return bool(listed)

    async with operator_client(sectors.trial.installation, "referrals") as client:
        report = await import_directory(path, client, SystemClock().now())
    await until(is_listed, "the real directory is listed")

    assert (report.read, report.taken, report.refused) == (135, 135, [])
    code = await sectors.refused(service=listed[0]["service"], needs=["legal_aid"])
    assert code == "agency_inactive"


async def test_feedback_that_she_did_not_allow_is_refused(sectors: Sectors) -> None:
    referral = await sectors.in_state(*PROVIDED, feedback=False)

    answer = await post_step(sectors.health, referral, FEEDBACK)

    assert (answer.status_code, answer.json()["code"]) == (403, "consent_does_not_cover")


async def test_a_decline_for_a_reason_that_the_sector_does_not_have_is_refused(sectors: Sectors) -> None:
    referral = await in_state(sectors.social_services, sectors.police)

    decline = replace(DECLINE, body={"reason": "language_not_served"})
    answer = await post_step(sectors.police, referral, decline)

    assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (422, "unknown_code")


WITHDRAWN_FROM: dict[str, tuple[AgencyStep, ...]] = {
    "offered": (),
    "acknowledged": (ACKNOWLEDGE,),
    "accepted": ACCEPTED,
    "in_service": (*ACCEPTED, START),
    "provided": PROVIDED,
    "feedback_given": (*PROVIDED, FEEDBACK),
    "declined": (DECLINE,),
    "expired": (),
    "cancelled": (CANCEL,),
    "closed": (*PROVIDED, CLOSE),
    "sealed": (CANCEL, SEAL),
}
STAYS = frozenset({"cancelled", "closed"})
"""After the end a withdrawal brings the sealing forward; the state stays."""


@pytest.mark.parametrize("state", WITHDRAWN_FROM)
async def test_she_can_withdraw_whatever_has_happened(sectors: Sectors, state: str) -> None:
    owner, receiver = sectors.social_services, sectors.health
    if state == "expired":
        referral = next(sectors.expiring)
        await owner.told(referral, "referral.expired")
    else:
        steps = WITHDRAWN_FROM[state]
        referral = await sectors.in_state(*steps, feedback=FEEDBACK in steps)

    if state == "sealed":
        assert await refusal(owner, referral, WITHDRAW) == "wrong_state"
        return
    assert await owner.step(referral, WITHDRAW)
    fact = await receiver.told(referral, "referral.withdrawn")
    assert fact.state == (state if state in STAYS else "withdrawn")
    assert await refusal(receiver, referral, ACCEPT) in ("withdrawn", "wrong_state")


async def test_after_a_withdrawal_the_receiver_sees_nothing_of_the_offer(sectors: Sectors) -> None:
    referral = await sectors.in_state(*ACCEPTED, WITHDRAW)

    assert (await sectors.health.read_referral(referral))["offer"] is None


async def test_a_consent_that_was_withdrawn_covers_no_further_offer(sectors: Sectors) -> None:
    owner = sectors.social_services
    body = await owner.prepare(sectors.health.agency)
    sent = await owner.offer(body)
    await owner.told(sent.referral, "referral.offered")
    await owner.step(sent.referral, WITHDRAW)

    again = await owner.request("POST", "/v1/referrals", body)

    assert (again.status_code, again.json()["code"]) == (403, "consent_does_not_cover")


async def test_harm_16_without_the_trail_nothing_is_shown_and_everything_can_still_be_sent(
    sectors: Sectors,
) -> None:
    owner, receiver = sectors.social_services, sectors.health
    referral = await sectors.in_state()
    accepted = await told_and_offered(owner, receiver, *ACCEPTED)
    platform = sectors.trial.platform
    await platform.stop("audit")
    try:
        pull = await pulled(receiver, accepted, "contact")
        asked = [receiver.request("GET", path) for path in (f"/v1/referrals/{referral}", "/v1/worklist")]
        read, listed = await asyncio.gather(*asked)  # each waits for the trail as long as it may
        assert await receiver.step(referral, ACCEPT)
        await owner.offer(await owner.prepare(receiver.agency))
        await owner.told(referral, "referral.accepted")
    finally:
        await platform.start("audit")

    assert (pull[0], pull[1]["code"]) == (503, "trail_unavailable")
    assert [answer.status_code for answer in (read, listed)] == [503, 503]
    assert read.headers["retry-after"]
    assert read.json()["code"] == "trail_unavailable"
    assert "offer" not in read.text.replace("offers", "")
    assert (await receiver.read_referral(referral))["state"] == "accepted"


TOLD: dict[str, Any] = {
    "contact": {
        "safe_contact": {
            "channels": ["call"],
            "hours": [{"days": ["monday"], "from_time": "09:00", "until_time": "17:00"}],
            "zone": "Africa/Nairobi",
        },
        "name": "Canary Example",
        "phone": "+000 000 000",
    },
    "clinical": {"injuries": "canary injuries"},
}


async def told_and_offered(owner: AgencyClient, receiver: AgencyClient, *steps: AgencyStep) -> str:
    """A referral after these steps, from a case whose packet was written."""
    body = await owner.prepare(receiver.agency)
    await owner.write_packet(body["case"], TOLD)
    sent = await owner.offer(body)
    for party in (owner, receiver):
        await party.told(sent.referral, "referral.offered")
    await take(owner, receiver, sent.referral, *steps)
    return sent.referral


async def pulled(client: AgencyClient, referral: str, *groups: str) -> tuple[int, Json]:
    """What a pull is answered, without what differs each time."""
    answer = await client.request("POST", *client.pull_of(referral, groups))
    words = answer.json()
    return answer.status_code, {name: words[name] for name in words if name != "instance"}


async def test_what_she_told_reaches_the_agency_that_she_agreed_to_and_nobody_else(sectors: Sectors) -> None:
    owner, receiver, police = sectors.social_services, sectors.health, sectors.police
    vault_key = sectors.trial.installation.secrets.public_key("vault-social_services")
    referral = await told_and_offered(owner, receiver)
    unknown = await pulled(receiver, f"ref_{'a' * 26}", "contact")

    early = await pulled(receiver, referral, "contact")
    await take(owner, receiver, referral, *ACCEPTED)
    opened = receiver.open_packet((await receiver.pull_packet(referral, ["contact"])).content, vault_key)
    own = owner.open_packet((await owner.pull_packet(referral, ["contact", "clinical"])).content, vault_key)
    beyond = await pulled(receiver, referral, "contact", "clinical")
    strange = await pulled(police, referral, "contact")
    await take(owner, receiver, referral, WITHDRAW)
    late = await pulled(receiver, referral, "contact")

    assert unknown[0] == 404
    assert [early, strange, late] == [unknown] * 3
    assert opened["contact"]["safe_contact"]["channels"] == ["call"]
    assert not {"name", "phone"} & opened["contact"].keys()  # her consent would have to name them
    assert own["contact"]["phone"] == TOLD["contact"]["phone"]
    assert own["clinical"] == TOLD["clinical"]
    assert (beyond[0], beyond[1]["code"]) == (403, "consent_does_not_cover")


async def test_in_danger_the_police_agree_health_looks_and_the_owner_is_told(sectors: Sectors) -> None:
    owner, receiver, police = sectors.social_services, sectors.health, sectors.police
    referral = await told_and_offered(owner, receiver)
    asked = {
        "referral": referral, "requester": receiver.agency.id, "groups": ["contact"],
        "reason": "threat_to_life",
    }  # fmt: skip
    who = {"agency": police.agency.id, "staff": police.agency.staff[0], "role": "supervisor"}
    headers = {"Authorization": f"Bearer {await sectors.trial.issuer.token(**who)}"}
    approved = await police.request("POST", "/v1/break-glass-approvals", asked, headers=headers)
    path, body = receiver.pull_of(referral, ["contact"])
    in_danger = {**body, "purpose": "protection", "approval": approved.json()}

    without = await receiver.request("POST", path, {**body, "purpose": "protection"})
    answer = await receiver.request("POST", path, in_danger)
    for party in (owner, receiver):
        await party.told(referral, "referral.break_glass_opened")
    await take(owner, receiver, referral, WITHDRAW)
    late = await receiver.request("POST", path, in_danger)

    vault_key = sectors.trial.installation.secrets.public_key("vault-social_services")
    assert answer.status_code == 200, answer.text
    assert receiver.open_packet(answer.content, vault_key)["contact"]["phone"] == TOLD["contact"]["phone"]
    assert [without.status_code, late.status_code] == [404, 404]


async def test_a_vault_that_was_killed_releases_again(sectors: Sectors) -> None:
    owner, receiver = sectors.social_services, sectors.health
    referral = await told_and_offered(owner, receiver, *ACCEPTED)
    platform = sectors.trial.platform
    await platform.stop("social_services_vault")
    try:
        away = await pulled(receiver, referral, "contact")
        await owner.write_packet(await owner.open_case(), TOLD)  # needs no vault
        await owner.offer(await owner.prepare(receiver.agency))
    finally:
        await platform.start("social_services_vault")

    assert (away[0], away[1]["code"]) == (503, "vault_unavailable")
    assert (await receiver.pull_packet(referral, ["contact"])).is_success


async def test_a_protocol_that_has_ended_lets_no_offer_through(sectors: Sectors) -> None:
    trial = sectors.trial
    live = protocol([agency.id for agency in trial.agencies])

    def offers_are(code: str | None) -> Callable[[], Awaitable[bool]]:
        async def are_answered() -> bool:
            return await sectors.refused() == code

        return are_answered

    async with partnership(trial.installation, trial.issuer, trial.agencies) as partners:
        await partners.adopt(live | {"valid_until": SystemClock().now() + timedelta(seconds=4)})
        try:
            await until(offers_are("no_live_protocol"), "the protocol has ended")
        finally:
            await partners.adopt(live)
    await until(offers_are(None), "the protocol lives again")
