"""Bad input at the agencies' port: each its documented answer, no value echoed, nothing else changed."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from deploy.local.databases import DATABASES
from deploy.local.secrets import Secrets
from services.cli.demo.founding import until
from services.cli.demo.looking import looking
from services.cli.demo.stories import ACCEPT, ACKNOWLEDGE
from services.cli.tokens import Issuer
from tests.e2e.conftest import Session
from tests.e2e.desk import Desk, a_key

UNKNOWN = "ref_" + "a" * 26
MARK = "Quillon-Vasquera"
"""Stands in whatever is wrong; no answer may repeat it."""


@dataclass(frozen=True)
class Scene:
    """A referral between two agencies, and a third that is no party."""

    session: Session
    owner: Desk
    receiver: Desk
    stranger: Desk
    referral: str

    @property
    def acceptances(self) -> str:
        return f"/v1/referrals/{self.referral}/acceptances"


@pytest.fixture(scope="module")
def scene(session: Session) -> Iterator[Scene]:
    agencies = {agency.sector: agency for agency in session.stage.agencies}
    owner, receiver, stranger = (
        Desk(session.stage, agencies[sector]) for sector in ("education", "health", "police")
    )
    referral = owner.offer(receiver.agency)
    receiver.told(referral, "referral.offered")
    session.loop.call(quiet(session))
    yield Scene(session, owner, receiver, stranger, referral)
    for desk in (owner, receiver, stranger):
        desk.http.close()


async def quiet(session: Session) -> None:
    """Wait until nothing that was asked before is still on its way."""
    async with looking(session.stage.installation) as onlooker:
        await until(onlooker.is_quiet, "every queue is empty")


STORED = """
SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_sent) AS steps,
  (SELECT count(*) FROM referral_view) AS views,
  (SELECT count(*) FROM idempotency) AS keys,
  (SELECT count(*) FROM case_file) AS cases,
  (SELECT array_agg(state || number ORDER BY agency) FROM referral_view WHERE referral = $1) AS referral"""


async def stored(scene: Scene, sector: str) -> Mapping[str, Any]:
    """What a sector's database holds, by the administrator's word."""
    async with scene.session.stage.installation.server.connection(DATABASES[sector].name) as connection:
        return dict(await connection.fetchrow(STORED, scene.referral))


@contextmanager
def nothing_changes(scene: Scene, desk: Desk) -> Iterator[None]:
    """Whatever is asked meanwhile leaves no row behind where this desk's requests go."""
    before = scene.session.loop.call(stored(scene, desk.agency.sector))
    yield
    assert scene.session.loop.call(stored(scene, desk.agency.sector)) == before


def accept(scene: Scene, body: Any, **headers: str) -> httpx2.Response:
    return scene.receiver.post(scene.acceptances, body, **{"If_Match": '"1"', **headers})


GOOD = {"duty": "duty", **ACCEPT.body}

Send = Callable[[Scene], httpx2.Response]
BAD: dict[str, tuple[Send, int, str]] = {
    "unknown field": (lambda scene: accept(scene, GOOD | {MARK: 1}), 422, "invalid"),
    "wrong type": (lambda scene: accept(scene, GOOD | {"appointment": [MARK]}), 422, "invalid"),
    "not in the list": (lambda scene: accept(scene, GOOD | {"appointment": MARK}), 422, "invalid"),
    "missing field": (lambda scene: accept(scene, {"duty": "duty"}), 422, "invalid"),
    "oversize": (lambda scene: accept(scene, GOOD | {"duty": MARK * 20_000}), 413, "too_large"),
    "duplicate keys": (
        lambda scene: accept(scene, b'{"duty":"duty","duty":"%s"}' % MARK.encode()), 400, "malformed"),
    "no UTF-8": (lambda scene: accept(scene, b'{"duty":"\xff\xfe"}'), 400, "malformed"),
    "no JSON": (lambda scene: accept(scene, MARK.encode()), 400, "malformed"),
    "not a number": (lambda scene: accept(scene, b'{"duty":NaN}'), 400, "malformed"),
    "deep nesting": (lambda scene: accept(scene, b"[" * 10_000 + b"]" * 10_000), 400, "malformed"),
    "no idempotency key": (
        lambda scene: accept(scene, GOOD, Idempotency_Key=""), 400, "idempotency_key_missing"),
    "no If-Match": (lambda scene: accept(scene, GOOD, If_Match=""), 428, "if_match_missing"),
    "stale If-Match": (lambda scene: accept(scene, GOOD, If_Match='"0"'), 412, "stale_view"),
    "no token": (lambda scene: accept(scene, GOOD, Authorization=""), 401, "unauthenticated"),
    "no bearer": (lambda scene: accept(scene, GOOD, Authorization=f"Basic {MARK}"), 401, "unauthenticated"),
    "a torn token": (
        lambda scene: accept(scene, GOOD, Authorization=f"Bearer {MARK}"), 401, "unauthenticated"),
    "no purpose": (
        lambda scene: scene.receiver.get(f"/v1/referrals/{scene.referral}", Concert_Purpose=""),
        400, "purpose_missing"),
    "unknown purpose": (
        lambda scene: scene.receiver.get(f"/v1/referrals/{scene.referral}", Concert_Purpose=MARK),
        422, "purpose_unknown"),
    "not a position": (lambda scene: scene.receiver.get(f"/v1/events?after={MARK}"), 422, "query_invalid"),
    "not a cursor": (
        lambda scene: scene.receiver.get(f"/v1/worklist?after={MARK}"), 422, "cursor_unreadable"),
    "another method": (
        lambda scene: scene.receiver.http.delete(scene.acceptances), 405, "method_not_allowed"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_its_documented_answer_and_changes_nothing(scene: Scene, what: str) -> None:
    send, status, code = BAD[what]

    with nothing_changes(scene, scene.receiver):
        answer = send(scene)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert MARK not in answer.text


def test_a_key_that_was_used_for_another_body_is_refused_and_its_repeat_is_marked(scene: Scene) -> None:
    key, number = a_key(), {"If_Match": '"1"'}
    referral = scene.owner.offer(scene.receiver.agency)
    scene.receiver.told(referral, "referral.offered")
    path, body = f"/v1/referrals/{referral}/{ACKNOWLEDGE.resource}", {"duty": "duty"}
    first = scene.receiver.post(path, body, Idempotency_Key=key, **number)

    with nothing_changes(scene, scene.receiver):
        again = scene.receiver.post(path, body, Idempotency_Key=key, **number)
        other = scene.receiver.post(path, {"duty": "night-desk"}, Idempotency_Key=key, **number)

    assert first.status_code == again.status_code == 202
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    scene.receiver.told(referral, ACKNOWLEDGE.fact)
    assert scene.receiver.number(referral) == 2


@pytest.mark.parametrize("method", ["read", "step"])
def test_a_foreign_referral_is_answered_like_an_unknown_one(scene: Scene, method: str) -> None:
    with nothing_changes(scene, scene.stranger):
        answers = [ask(scene, referral, method) for referral in (scene.referral, UNKNOWN, "ref_short")]

    assert {answer.status_code for answer in answers} == {404}
    bodies = [answer.json() for answer in answers]
    for body in bodies:
        del body["instance"]
    assert bodies[0] == bodies[1] == bodies[2]
    assert len({len(answer.content) for answer in answers}) == 1


def ask(scene: Scene, referral: str, method: str) -> httpx2.Response:
    if method == "read":
        return scene.stranger.get(f"/v1/referrals/{referral}")
    return scene.stranger.post(f"/v1/referrals/{referral}/acceptances", GOOD, If_Match='"1"')


def test_tokens_that_are_old_foreign_or_meant_for_another_service_are_refused(
    scene: Scene, tmp_path: Any
) -> None:
    installation = scene.session.stage.installation
    cell, key = installation.configuration.cell, installation.secrets.issuer_key_file()
    agency = scene.receiver.agency
    who = {"agency": agency.id, "staff": agency.staff[0], "role": "caseworker"}
    foreign = Issuer(installation.issuer_name, cell, Secrets(tmp_path / "others").issuer_key_file())
    tokens = {
        "foreign key": foreign.token(**who),
        "another issuer": Issuer("urn:concert:elsewhere:issuer", cell, key).token(**who),
        "another service": scene.session.stage.issuer.token(**who, services=("police",)),
        "another cell": Issuer(installation.issuer_name, "elsewhere", key).token(**who),
        "expired": expired(scene, who),
    }

    with nothing_changes(scene, scene.receiver):
        answers = {
            name: scene.receiver.post("/v1/cases", {"reference": "A-2"}, Authorization=f"Bearer {token}")
            for name, token in tokens.items()
        }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(tokens, 401)
    assert {answer.json()["code"] for answer in answers.values()} == {"unauthenticated"}


def expired(scene: Scene, who: dict[str, str]) -> str:
    """A token that was good ten minutes ago."""
    from joserfc import jwt
    from joserfc.jwk import ECKey

    installation = scene.session.stage.installation
    key = ECKey.import_key(json.loads(installation.secrets.issuer_key_file().read_text()))
    fresh = scene.session.stage.issuer.token(**who)
    opened = jwt.decode(fresh, key, algorithms=["ES384"])
    long_ago = int(time.time()) - 600
    return jwt.encode(
        opened.header, opened.claims | {"iat": long_ago, "exp": long_ago + 300}, key, algorithms=["ES384"]
    )


def test_an_agency_of_another_sector_cannot_act_here(scene: Scene) -> None:
    stage = scene.session.stage
    police = scene.stranger.agency
    token = stage.issuer.token(agency=police.id, staff=police.staff[0], role="officer")

    with nothing_changes(scene, scene.receiver):
        answer = scene.receiver.post("/v1/cases", {"reference": "A-2"}, Authorization=f"Bearer {token}")

    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_sector")
