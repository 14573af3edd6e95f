"""The local issuer as a console and an agency's system meet it: each proof once, each code once."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi import Request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from deploy.local.issuer.app import FOR_CODE, LIFE, Issuer, issuer_app
from deploy.local.issuer.clients import Client
from deploy.local.issuer.persons import FAILURES_MAX, Persons, add_person
from services.runtime.client_key import ASSERTED_BY
from services.runtime.consoles.open_id import challenge_of
from services.runtime.ids import random_bytes
from services.runtime.token_client import FOR_STAFF
from services.runtime.tokens import token_reader
from tests.support.clock import StoppedClock

PATH = "/local-issuer"
NAME = f"http://127.0.0.1:8100{PATH}"
BACK = "http://127.0.0.1:8101/ops/sign-in/answer"
SECRET = "v" * 43
ASKED = {
    "response_type": "code", "client_id": "operations", "redirect_uri": BACK, "scope": "openid",
    "state": "s" * 32, "nonce": "n" * 32,
    "code_challenge": challenge_of(SECRET), "code_challenge_method": "S256",
}  # fmt: skip
KEYS = {
    name: ECKey.generate_key("P-384", auto_kid=True) for name in ("issuer", "operations", "command", "probe")
}


def public(name: str) -> dict[str, Any]:
    return dict(KeySet([KEYS[name]]).as_dict(private=False))


CLIENTS = {
    "operations": Client(id="operations", keys=public("operations"), comes_back_to=BACK),
    "command": Client(id="command", keys=public("command"), names_staff=True),
    "probe": Client(id="probe", keys=public("probe"), names_staff=True, agencies=("probe-health",)),
}


class Stage:
    """An issuer that answers in this process, and one person who may sign in."""

    def __init__(self, folder: Path) -> None:
        self.clock = StoppedClock()
        self.file = folder / "persons.json"
        self.file.write_text("{}")
        self.passphrase = add_person(self.file, "p-1")
        persons = Persons(self.file, self.clock)
        issuer = Issuer(NAME, "test-local", KEYS["issuer"], CLIENTS, self.clock)
        transport = httpx2.ASGITransport(issuer_app(issuer, persons, PATH))
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8100")

    def said(self, by: str, **claims: Any) -> str:
        now = int(self.clock.now().timestamp())
        whole = {
            "iss": by,
            "sub": by,
            "aud": NAME,
            "iat": now,
            "exp": now + 60,
            "jti": random_bytes(16).hex(),
        }
        return jwt.encode(
            {"alg": "ES384", "kid": KEYS[by].kid}, {**whole, **claims}, KEYS[by], algorithms=["ES384"]
        )

    async def sign_in(self, passphrase: str | None = None, **more: str) -> httpx2.Response:
        form = {"person": "p-1", "passphrase": passphrase or self.passphrase}
        return await self.client.post(f"{PATH}/authorize", params={**ASKED, **more}, data=form)

    async def code(self) -> str:
        answer = await self.sign_in()
        assert answer.headers["location"].startswith(f"{BACK}?")
        told = parse_qs(urlsplit(answer.headers["location"]).query)
        assert (told["state"], told["iss"]) == ([ASKED["state"]], [NAME])
        return told["code"][0]

    async def token(self, by: str, form: Mapping[str, str]) -> httpx2.Response:
        proof = {"client_assertion_type": ASSERTED_BY, "client_assertion": self.said(by)}
        return await self.client.post(f"{PATH}/token", data={**proof, **form})


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.client.aclose()


def exchange(good: str, **more: str) -> dict[str, str]:
    return {"grant_type": FOR_CODE, "code": good, "redirect_uri": BACK, "code_verifier": SECRET, **more}


async def test_a_person_signs_in_by_a_code_that_is_good_once(stage: Stage) -> None:
    code = await stage.code()

    answer = await stage.token("operations", exchange(code))
    again = await stage.token("operations", exchange(code))

    told = jwt.decode(answer.json()["id_token"], KEYS["issuer"], algorithms=["ES384"]).claims
    now = int(stage.clock.now().timestamp())
    assert told == {"iss": NAME, "aud": "operations", "sub": "p-1", "nonce": ASKED["nonce"]} | {
        "iat": now, "auth_time": now, "exp": now + LIFE.seconds,
    }  # fmt: skip
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "wrong", [{"code_verifier": "w" * 43}, {"redirect_uri": BACK + "/"}, {"code": "0" * 64}]
)
async def test_a_code_is_worth_nothing_to_whoever_knows_less(stage: Stage, wrong: Mapping[str, str]) -> None:
    code = await stage.code()

    refused = await stage.token("operations", exchange(code, **wrong))
    foreign = await stage.token("command", exchange(await stage.code()))
    stage.clock.forward(timedelta(minutes=1))
    late = await stage.token("operations", exchange(code))

    assert [each.json().get("error") for each in (refused, foreign, late)] == ["invalid_grant"] * 3


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"redirect_uri": "http://127.0.0.1:1/"}, 400),
        ({"client_id": "command"}, 400),
        ({"state": "short"}, 422),
        ({"code_challenge_method": "plain"}, 422),
        ({"response_type": "token"}, 422),
        ({"more": "x"}, 422),
    ],
)
async def test_nobody_is_sent_where_no_console_asked(
    stage: Stage, wrong: Mapping[str, str], status: int
) -> None:
    answer = await stage.sign_in(**wrong)

    assert (answer.status_code, answer.headers.get("location")) == (status, None)


async def test_a_name_is_refused_after_too_many_tries_for_a_minute(stage: Stage) -> None:
    for _ in range(FAILURES_MAX):
        assert (await stage.sign_in("wrong")).status_code == 403
    refused = await stage.sign_in()
    stage.clock.forward(timedelta(minutes=1))
    taken = await stage.sign_in()

    assert (refused.status_code, taken.status_code) == (403, 303)
    assert 'role="alert"' in refused.text


async def test_a_new_passphrase_ends_the_old_one(stage: Stage) -> None:
    fresh = add_person(stage.file, "p-1")

    assert (await stage.sign_in()).status_code == 403
    assert (await stage.sign_in(fresh)).status_code == 303
    assert stage.file.stat().st_mode & 0o777 == 0o600


def staff(stage: Stage, by: str = "command", **more: str) -> dict[str, str]:
    said = stage.said(by, sub="s-17", agency="harbour-clinic", role="nurse")
    return {"grant_type": FOR_STAFF, "assertion": said, "scope": "health police", **more}


async def test_a_system_gets_the_token_of_the_person_behind_it(stage: Stage) -> None:
    answer = await stage.token("command", staff(stage))

    keys = KeySet.import_key_set((await stage.client.get(f"{PATH}/keys")).json())
    read = token_reader(keys, issuer=NAME, audience="urn:concert:test-local:police", clock=stage.clock)
    header = (b"authorization", f"Bearer {answer.json()['access_token']}".encode())
    caller = read(Request({"type": "http", "headers": [header]}))
    assert (caller.staff, caller.client, caller.agency, caller.role) == (
        "s-17", "harbour-clinic-system", "harbour-clinic", "nurse",
    )  # fmt: skip


async def test_the_probes_client_names_people_of_probes_alone(stage: Stage) -> None:
    def asked(agency: str) -> dict[str, str]:
        said = stage.said("probe", sub="probe", agency=agency, role="intake")
        return {"grant_type": FOR_STAFF, "assertion": said, "scope": "health"}

    answers = [await stage.token("probe", asked(agency)) for agency in ("probe-health", "harbour-clinic")]

    assert [answer.json().get("error") for answer in answers] == [None, "invalid_grant"]


async def test_what_does_not_hold_is_refused_by_a_code_of_the_closed_list(stage: Stage) -> None:
    ended = int(stage.clock.now().timestamp()) - 60
    once = staff(stage)
    tries = [
        ({**staff(stage, "operations")}, "operations", "invalid_grant"),  # a console names nobody's staff
        (once, "command", None),
        (once, "command", "invalid_grant"),
        (staff(stage, scope="health elsewhere"), "command", "invalid_scope"),
        (staff(stage, grant_type="password"), "command", "unsupported_grant_type"),
        (
            staff(stage, client_assertion=stage.said("command", exp=ended, iat=ended - 60)),
            "command",
            "invalid_client",
        ),
        (staff(stage, client_assertion=stage.said("command", aud="elsewhere")), "command", "invalid_client"),
        (staff(stage, client_assertion=stage.said("command", sub="operations")), "command", "invalid_client"),
        (staff(stage, client_assertion=stage.said("operations", iss="command")), "command", "invalid_client"),
        (staff(stage, client_assertion="a.b.c"), "command", "invalid_client"),
    ]
    for form, by, error in tries:
        answer = await stage.token(by, form)
        assert answer.json().get("error") == error


async def test_discovery_tells_what_a_client_needs(stage: Stage) -> None:
    told = (await stage.client.get(f"{PATH}/.well-known/openid-configuration")).json()

    assert told["issuer"] == NAME
    assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]


@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a", b"a=%ff", "a=é".encode(), b"&".join([b"a%d=1" % n for n in range(40)])]
)
async def test_a_form_has_one_reading(stage: Stage, body: bytes) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}

    answer = await stage.client.post(f"{PATH}/token", content=body, headers=kind)

    assert answer.json()["code"] == "not_a_form"
