"""A console believes its issuer's word on who came back to it, and nobody else's, once."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.runtime.consoles.issuer_documents import ANSWER_BYTES_MAX, KEPT_FOR, UNKNOWN_KEY_ASKED_AFTER
from services.runtime.consoles.open_id import (
    AGE_MAX,
    Authentication,
    SignInRefused,
    SignInTry,
    challenge_of,
    issuer_http,
)
from services.runtime.errors import Unavailable
from tests.support.consoles import (
    ADDRESS,
    ANSWERED_AT,
    CONSOLE_KEY,
    ISSUER,
    FakeIssuer,
    IssuerStage,
    a_key,
    asked_of,
    public,
)

DOCUMENTS = ["openid-configuration", "keys"]


@pytest.fixture
def stage(tmp_path: Path) -> IssuerStage:
    return IssuerStage(tmp_path)


@pytest.fixture
def attempt() -> SignInTry:
    return SignInTry.begun("", "/ops")


async def test_the_local_issuer_signs_a_person_in(stage: IssuerStage, attempt: SignInTry) -> None:
    told = await stage.answer_to(attempt)

    assert await stage.client.authenticate(attempt, told) == Authentication("p-1", stage.clock.now())


async def test_what_a_browser_is_sent_with_gives_away_nothing_that_it_keeps(
    stage: IssuerStage, attempt: SignInTry
) -> None:
    asked = asked_of(await stage.client.address_for(attempt, is_fresh=False))
    fresh = asked_of(await stage.client.address_for(attempt, is_fresh=True))

    kept = {attempt.secret, attempt.verifier}
    assert asked["redirect_uri"] == ADDRESS + ANSWERED_AT
    assert (asked["max_age"], asked.get("prompt")) == ("3600", None)
    assert (fresh["max_age"], fresh["prompt"]) == ("0", "login")
    assert len({*kept, asked["state"], asked["nonce"], asked["code_challenge"]}) == 5
    # RFC 7636, appendix B
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


async def test_an_answer_is_taken_once_from_its_own_issuer_for_its_own_browser(
    stage: IssuerStage, attempt: SignInTry
) -> None:
    told = await stage.answer_to(attempt)
    other = SignInTry.begun("", "/ops")
    wrong: list[tuple[SignInTry, dict[str, str]]] = [
        (other, told),  # a link that somebody else's sign-in ended in
        (attempt, {**told, "state": ""}),
        (attempt, {**told, "state": "é"}),
        (attempt, {**told, "iss": "http://127.0.0.1:1/local-issuer"}),
        (attempt, {name: one for name, one in told.items() if name != "iss"}),
        (attempt, {name: one for name, one in told.items() if name != "code"}),
        (attempt, {**told, "error": "access_denied"}),
        (SignInTry(attempt.secret, "/ops/elsewhere"), told),
    ]
    for whose, answer in wrong:
        with pytest.raises(SignInRefused):
            await stage.client.authenticate(whose, answer)

    assert await stage.client.authenticate(attempt, told)
    with pytest.raises(SignInRefused):
        await stage.client.authenticate(attempt, told)


async def test_a_code_is_worth_nothing_without_the_browsers_secret(
    stage: IssuerStage, attempt: SignInTry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await stage.answer_to(attempt)
    monkeypatch.setattr(SignInTry, "verifier", "v" * 43)

    with pytest.raises(SignInRefused):
        await stage.client.authenticate(attempt, told)


def said(claims: dict[str, Any]) -> Callable[[FakeIssuer], None]:
    return lambda issuer: issuer.claims.update(claims)


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(issuer: FakeIssuer) -> None:
    issuer.token = f"{encoded({'alg': 'none', 'kid': issuer.key.kid})}.{encoded(issuer.claims)}."


def signed_by_the_public_key(issuer: FakeIssuer) -> None:
    secret = json.dumps(issuer.published["keys"][0])
    issuer.published["keys"].append({"kty": "oct", "k": encoded({"k": secret}), "kid": "h"})
    issuer.token = f"{encoded({'alg': 'HS256', 'kid': 'h'})}.{encoded(issuer.claims)}.AAAA"


def signed_by_another_key(issuer: FakeIssuer) -> None:
    issuer.key = a_key(issuer.key.kid)


def without(claim: str) -> Callable[[FakeIssuer], None]:
    return lambda issuer: issuer.claims.update({claim: None})


@pytest.mark.parametrize("wrong", [
    said({"nonce": "n" * 43}), without("nonce"),
    said({"aud": "another-console"}), said({"aud": ["operations", "another-console"]}),
    said({"iss": ISSUER + "/"}), said({"iss": "https://issuer.example"}),
    said({"exp": 1}), said({"exp": 4_000_000_000}), said({"iat": 4_000_000_000}),
    said({"auth_time": 1}), without("auth_time"), said({"auth_time": 4_000_000_000}),
    said({"sub": "Amina K."}), said({"sub": "x" * 65}),
    unsigned, signed_by_the_public_key, signed_by_another_key,
    lambda issuer: issuer.header.update(kid="nobody's"), lambda issuer: issuer.header.update(kid=None),
    lambda issuer: issuer.header.update(crit=["b64"], b64=True),
    lambda issuer: setattr(issuer, "token", "x" * 9_000), lambda issuer: setattr(issuer, "token", "a.b.c"),
    lambda issuer: setattr(issuer, "token", 7),
    lambda issuer: issuer.answers.update(token=httpx2.Response(200, content=b"[]")),
    lambda issuer: issuer.answers.update(token=httpx2.Response(400, json={"error": "invalid_grant"})),
    lambda issuer: issuer.answers.update(token=httpx2.Response(401, json={"error": "invalid_client"})),
    lambda issuer: issuer.answers.update(token=httpx2.Response(307, headers={"location": f"{ISSUER}/else"})),
])  # fmt: skip
async def test_what_the_issuer_says_holds_in_every_part_or_not_at_all(
    stage: IssuerStage, attempt: SignInTry, wrong: Callable[[FakeIssuer], None]
) -> None:
    issuer = FakeIssuer(stage, nonce=attempt.derived("nonce"))
    assert await issuer.authenticate(attempt)  # in all other parts it holds

    wrong(issuer)
    stage.clock.forward(UNKNOWN_KEY_ASKED_AFTER)
    with pytest.raises(SignInRefused):
        await issuer.authenticate(attempt)

    assert "else" not in issuer.asked


async def test_a_token_of_a_sign_in_of_long_ago_is_none(stage: IssuerStage, attempt: SignInTry) -> None:
    now = stage.clock.now().timestamp()
    issuer = FakeIssuer(stage, auth_time=int(now - AGE_MAX.total_seconds()))
    assert (await issuer.authenticate(attempt)).at == stage.clock.now() - AGE_MAX

    issuer.claims["auth_time"] -= 10
    with pytest.raises(SignInRefused):
        await issuer.authenticate(attempt)


async def test_a_new_key_is_fetched_and_a_made_up_one_costs_a_question_a_minute(
    stage: IssuerStage, attempt: SignInTry
) -> None:
    issuer = FakeIssuer(stage)
    await issuer.authenticate(attempt)
    issuer.key = a_key()
    for _ in range(5):
        with pytest.raises(SignInRefused):
            await issuer.authenticate(attempt)
    assert issuer.asked.count("keys") == 1

    issuer.published = public(issuer.key)
    stage.clock.forward(UNKNOWN_KEY_ASKED_AFTER)
    assert await issuer.authenticate(attempt)
    assert issuer.asked.count("keys") == 2


async def test_documents_are_kept_and_asked_for_again_in_time(stage: IssuerStage) -> None:
    issuer = FakeIssuer(stage)
    for _ in range(3):
        await issuer.client.look()
    assert issuer.asked == DOCUMENTS
    for by in (KEPT_FOR, -2 * KEPT_FOR):  # also where the clock was set back
        stage.clock.forward(by)
        await issuer.client.look()
    assert issuer.asked == DOCUMENTS * 3


@pytest.mark.parametrize("wrong", [
    lambda issuer: issuer.discovery.update(issuer="http://127.0.0.1:1/other"),
    lambda issuer: issuer.discovery.update(token_endpoint="file:///etc/passwd"),
    lambda issuer: issuer.discovery.pop("jwks_uri"),
    lambda issuer: issuer.published.update(keys=[]),
    lambda issuer: issuer.published.update(keys=issuer.published["keys"] * 40),
    lambda issuer: issuer.answers.update(keys=httpx2.Response(200, content=b"x" * (ANSWER_BYTES_MAX + 1))),
    lambda issuer: issuer.answers.update(keys=httpx2.Response(500, json={"keys": []})),
    lambda issuer: issuer.answers.update(keys=httpx2.Response(200, content=b'{"keys":[],"keys":[]}')),
    lambda issuer: issuer.answers.update(keys=httpx2.Response(200, content=b"[" * 60_000)),
    lambda issuer: issuer.answers.update(
        keys=httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Compressed())
    ),
    lambda issuer: issuer.answers.update(keys=httpx2.ConnectError("refused")),
])  # fmt: skip
async def test_an_issuer_that_publishes_what_cannot_be_used_counts_as_away(
    stage: IssuerStage, wrong: Callable[[FakeIssuer], None]
) -> None:
    issuer = FakeIssuer(stage)
    wrong(issuer)

    for _ in range(3):
        with pytest.raises(Unavailable):
            await issuer.client.look()

    assert issuer.asked.count("openid-configuration") == 1, "it is left alone for a moment"


class Compressed(httpx2.AsyncByteStream):
    async def __aiter__(self) -> Any:
        yield gzip.compress(b" " * 1_000_000)


async def test_over_https_nothing_is_asked_in_the_clear(stage: IssuerStage) -> None:
    issuer = FakeIssuer(stage)
    private = stage.settings.model_copy(update={"issuer": "https://issuer.example"})
    issuer.discovery["issuer"] = "https://issuer.example"
    issuer.client._documents._issuer = private.issuer

    with pytest.raises(Unavailable):
        await issuer.client.look()
    assert issuer.asked == DOCUMENTS[:1]


async def test_keys_of_other_kinds_stand_in_nobodys_way(stage: IssuerStage, attempt: SignInTry) -> None:
    issuer = FakeIssuer(stage)
    [ours] = issuer.published["keys"]
    others = [{"kty": "XYZ", "kid": "a"}, {"kty": "EC", "kid": "b"}, {**ours, "use": "enc", "kid": "c"}, {}]
    issuer.published = {"keys": [*others, ours]}

    assert await issuer.authenticate(attempt)


async def test_an_issuer_that_fails_at_the_last_step_is_away(stage: IssuerStage, attempt: SignInTry) -> None:
    issuer = FakeIssuer(stage)
    for answer in (httpx2.Response(503, json={}), httpx2.ReadTimeout("late")):
        issuer.answers["token"] = answer
        with pytest.raises(Unavailable):
            await issuer.authenticate(attempt)


async def test_a_console_is_known_by_its_key(stage: IssuerStage, attempt: SignInTry) -> None:
    stage.client._key._key = a_key(CONSOLE_KEY.kid)

    with pytest.raises(SignInRefused):
        await stage.client.authenticate(attempt, await stage.answer_to(attempt))


@pytest.mark.parametrize(("back", "page"), [
    ("/ops/dead-letters/dl_2", "/ops/dead-letters/dl_2"), ("/ops", "/ops"), ("", "/ops"),
    ("//evil.example", "/ops"), ("https://evil.example/ops", "/ops"), ("/ops/../x", "/ops"),
    ("/opsx", "/ops"), ("/ops/\\evil.example", "/ops"), ("/ops//evil.example", "/ops"),
    ("/ops/%2e%2e", "/ops"), ("/audit", "/ops"), ("/ops/a\r\nset-cookie: x", "/ops"),
    ("/ops/" + "a" * 81, "/ops"), ("/ops?x=1", "/ops"), ("/ops/a\n", "/ops"),
])  # fmt: skip
def test_nobody_is_led_away_from_the_console(back: str, page: str) -> None:
    attempt = SignInTry.begun(back, "/ops")

    assert attempt.back == page
    assert SignInTry.read(attempt.cookie, "/ops") == attempt


@pytest.mark.parametrize(
    "cookie", ["", "x", "." + "/ops", "s" * 43, "s" * 43 + ".//evil.example", "s" * 44 + "./ops"]
)
def test_a_cookie_that_no_try_left_is_none(cookie: str) -> None:
    assert SignInTry.read(cookie, "/ops") is None


async def test_nothing_of_the_machine_diverts_what_is_asked_of_the_issuer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    client = issuer_http()

    assert client.follow_redirects is False
    assert client.trust_env is False
    await client.aclose()
