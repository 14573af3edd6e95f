"""Bad input at the agencies' port: each its documented answer, no value echoed, nothing else changed."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deploy.local.databases import DATABASES
from deploy.local.secrets import Secrets
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, DESK, AgencyClient
from services.cli.demo.collect import looking
from tests.e2e.conftest import Session
from tests.support.tokens import signed_token

UNKNOWN = "ref_" + "a" * 26
MARK = "Quillon-Vasquera"
"""Stands in whatever is wrong; no answer may repeat it."""


@dataclass(frozen=True)
class Scene:
    """A referral between two agencies, and a third that is no party."""

    session: Session
    owner: AgencyClient
    receiver: AgencyClient
    stranger: AgencyClient
    referral: str

    @property
    def acceptances(self) -> str:
        return f"/v1/referrals/{self.referral}/acceptances"

    async def accept(self, body: Any, **headers: str) -> httpx2.Response:
        return await self.receiver.request(
            "POST", self.acceptances, body, headers={"If-Match": '"1"', **headers}
        )


@pytest.fixture(scope="module")
async def scene(session: Session) -> Scene:
    trial = session.trial
    clients = {client.agency.sector: client for client in trial.clients.values()}
    owner, receiver, stranger = (clients[sector] for sector in ("education", "health", "police"))
    sent = await owner.offer(await owner.prepare(receiver.agency))
    await receiver.told(sent.referral, "referral.offered")
    async with looking(trial.installation) as onlooker:
        await onlooker.quiet()
    return Scene(session, owner, receiver, stranger, sent.referral)


STORED = """
SELECT (SELECT count(*) FROM outbox WHERE key NOT LIKE 'rcp%')
    + (SELECT count(*) FROM outbox_sent WHERE key NOT LIKE 'rcp%') AS steps,
  (SELECT count(*) FROM referral_view) AS views,
  (SELECT count(*) FROM idempotency) AS keys,
  (SELECT count(*) FROM case_file) AS cases,
  (SELECT array_agg(state || number ORDER BY agency) FROM referral_view WHERE referral = $1) AS referral"""


async def stored(scene: Scene, sector: str) -> Mapping[str, Any]:
    """What a sector's database holds, by the administrator's word."""
    async with scene.session.trial.installation.server.connection(DATABASES[sector].name) as connection:
        return dict(await connection.fetchrow(STORED, scene.referral))


@asynccontextmanager
async def nothing_changes(scene: Scene, client: AgencyClient) -> AsyncIterator[None]:
    """Whatever is asked meanwhile leaves no row behind where this client's requests go."""
    before = await stored(scene, client.agency.sector)
    yield
    assert await stored(scene, client.agency.sector) == before


GOOD = {"duty": DESK, **ACCEPT.body}

BODIES: dict[str, tuple[Any, int, str]] = {
    "unknown field": (GOOD | {MARK: 1}, 422, "invalid"),
    "not in the list": (GOOD | {"appointment": MARK}, 422, "invalid"),
    "oversize": (GOOD | {"duty": MARK * 20_000}, 413, "too_large"),
    "duplicate keys": (b'{"duty":"duty","duty":"%s"}' % MARK.encode(), 400, "malformed"),
    "deep nesting": (b"[" * 10_000 + b"]" * 10_000, 400, "malformed"),
}
HEADERS: dict[str, tuple[dict[str, str], int, str]] = {
    "no idempotency key": ({"Idempotency-Key": ""}, 400, "idempotency_key_missing"),
    "no If-Match": ({"If-Match": ""}, 428, "if_match_missing"),
    "stale If-Match": ({"If-Match": '"0"'}, 412, "stale_view"),
    "no token": ({"Authorization": ""}, 401, "unauthenticated"),
    "a torn token": ({"Authorization": f"Bearer {MARK}"}, 401, "unauthenticated"),
}
REQUESTS: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "no purpose": ("GET", "/v1/referrals/{}", {"Concert-Purpose": ""}, 400, "purpose_missing"),
    "unknown purpose": ("GET", "/v1/referrals/{}", {"Concert-Purpose": MARK}, 422, "purpose_unknown"),
    "not a position": ("GET", f"/v1/events?after={MARK}", {}, 422, "query_invalid"),
    "not a cursor": ("GET", f"/v1/worklist?after={MARK}", {}, 422, "cursor_unreadable"),
    "another method": ("DELETE", "/v1/referrals/{}/acceptances", {}, 405, "method_not_allowed"),
}
"""One of each kind, at the real port; the runtime's unit tests hold every form of a bad body and token."""


@pytest.mark.parametrize("what", [*BODIES, *HEADERS, *REQUESTS])
async def test_bad_input_gets_its_documented_answer_and_changes_nothing(scene: Scene, what: str) -> None:
    async with nothing_changes(scene, scene.receiver):
        if what in BODIES:
            body, status, code = BODIES[what]
            answer = await scene.accept(body)
        elif what in HEADERS:
            headers, status, code = HEADERS[what]
            answer = await scene.accept(GOOD, **headers)
        else:
            method, path, headers, status, code = REQUESTS[what]
            answer = await scene.receiver.request(method, path.format(scene.referral), headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert MARK not in answer.text


async def test_a_key_that_was_used_for_another_body_is_refused_and_its_repeat_is_marked(scene: Scene) -> None:
    headers = {"If-Match": '"1"', "Idempotency-Key": "used-before"}
    receiver = scene.receiver
    sent = await scene.owner.offer(await scene.owner.prepare(receiver.agency))
    await receiver.told(sent.referral, "referral.offered")
    path, body = f"/v1/referrals/{sent.referral}/{ACKNOWLEDGE.resource}", {"duty": DESK}
    first = await receiver.request("POST", path, body, headers=headers)

    async with nothing_changes(scene, receiver):
        again = await receiver.request("POST", path, body, headers=headers)
        other = await receiver.request("POST", path, {"duty": "night-desk"}, headers=headers)

    assert first.status_code == again.status_code == 202
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    await receiver.told(sent.referral, ACKNOWLEDGE.fact)
    assert receiver.number(sent.referral) == 2


@pytest.mark.parametrize(("method", "resource"), [("GET", ""), ("POST", "/acceptances")])
async def test_a_foreign_referral_is_answered_like_an_unknown_one(
    scene: Scene, method: str, resource: str
) -> None:
    body, headers = (GOOD if method == "POST" else None), {"If-Match": '"1"'}

    async with nothing_changes(scene, scene.stranger):
        answers = [
            await scene.stranger.request(method, f"/v1/referrals/{referral}{resource}", body, headers=headers)
            for referral in (scene.referral, UNKNOWN, "ref_short")
        ]

    assert {answer.status_code for answer in answers} == {404}
    bodies = [answer.json() for answer in answers]
    for told in bodies:
        del told["instance"]
    assert bodies[0] == bodies[1] == bodies[2]
    assert len({len(answer.content) for answer in answers}) == 1


async def test_tokens_that_are_foreign_or_meant_for_another_service_are_refused(
    scene: Scene, tmp_path: Path
) -> None:
    installation, issuer = scene.session.trial.installation, scene.session.trial.issuer
    name, cell = installation.issuer.name, installation.configuration.cell
    agency = scene.receiver.agency
    who = {"agency": agency.id, "staff": agency.staff[0], "role": "caseworker"}
    keys = Secrets(tmp_path / "others").issuer_key_file(), installation.secrets.issuer_key_file()

    async with nothing_changes(scene, scene.receiver):
        answers = [
            await open_case(scene, token)
            for token in (
                signed_token(keys[0], name, cell, services=["health"], **who),
                await issuer.token(**who, services=["police"]),
                signed_token(keys[1], name, "elsewhere", services=["health"], **who),
            )
        ]

    told = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert told == [(401, "unauthenticated")] * 3


async def open_case(scene: Scene, token: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await scene.receiver.request("POST", "/v1/cases", {"reference": "A-2"}, headers=headers)


async def test_an_agency_of_another_sector_cannot_act_here(scene: Scene) -> None:
    police = scene.stranger.agency
    token = await scene.session.trial.issuer.token(agency=police.id, staff=police.staff[0], role="officer")

    async with nothing_changes(scene, scene.receiver):
        answer = await open_case(scene, token)

    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_sector")
