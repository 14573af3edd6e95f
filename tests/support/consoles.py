"""A console before the local issuer, both in this process; and what a browser does between them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from deploy.local.issuer.app import Issuer, issuer_app
from deploy.local.issuer.clients import Client
from deploy.local.issuer.persons import Persons, add_person
from services.runtime.consoles.open_id import OpenIdClient, SignInTry
from services.runtime.settings import ConsoleSettings
from tests.support.clock import StoppedClock

ADDRESS: Final = "http://127.0.0.1:8101"
ISSUER: Final = "http://127.0.0.1:8100/local-issuer"
ANSWERED_AT: Final = "/ops/sign-in/answer"
CLIENT: Final = "operations"
TOKEN: Final = re.compile(r'name="form" value="([0-9a-f]+)"')


def a_key(kid: str | None = None) -> ECKey:
    """A key of the kind that the local issuer and its clients have."""
    return ECKey.generate_key("P-384", {"kid": kid} if kid else None, auto_kid=kid is None)


def public(*keys: ECKey) -> dict[str, Any]:
    """Their public halves, as a key set."""
    return dict(KeySet([*keys]).as_dict(private=False))


CONSOLE_KEY: Final = a_key()
ISSUER_KEY: Final = a_key()


def write_console_key(folder: Path) -> Path:
    """The console's private key in a file."""
    file = folder / "console.jwk"
    file.write_text(json.dumps(CONSOLE_KEY.as_dict(private=True)))
    return file


class IssuerStage:
    """The local issuer, people who can sign in, and a console's client that asks it."""

    def __init__(self, folder: Path) -> None:
        self.clock = StoppedClock()
        self.persons_file = folder / "persons.json"
        self.persons_file.write_text("{}")
        self.passphrases: dict[str, str] = {}
        self.settings = ConsoleSettings(
            address=ADDRESS, issuer=ISSUER, client=CLIENT, key_file=write_console_key(folder)
        )
        known = Client(id=CLIENT, keys=public(CONSOLE_KEY), comes_back_to=ADDRESS + ANSWERED_AT)
        self.issuer = Issuer(ISSUER, "test-local", ISSUER_KEY, {CLIENT: known}, self.clock)
        self.app = issuer_app(self.issuer, Persons(self.persons_file, self.clock), "/local-issuer")
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app))
        self.client = OpenIdClient(self.settings, ANSWERED_AT, self.clock, self.http)

    async def sign_in(self, address: str, person: str = "p-1") -> dict[str, str]:
        """What a browser brings back from the issuer once this person signed in there."""
        if person not in self.passphrases:
            self.passphrases[person] = add_person(self.persons_file, person)
        form = {"person": person, "passphrase": self.passphrases[person]}
        answer = await self.http.post(address, data=form)
        assert answer.status_code == 303, answer.text
        back = urlsplit(answer.headers["location"])
        assert f"{back.scheme}://{back.netloc}{back.path}" == ADDRESS + ANSWERED_AT
        return dict(parse_qsl(back.query))

    async def answer_to(self, attempt: SignInTry, *, is_fresh: bool = False) -> dict[str, str]:
        """The same, for a try."""
        return await self.sign_in(await self.client.address_for(attempt, is_fresh=is_fresh))


class FakeIssuer:
    """An issuer that says whatever a test wants: `said` are its claims, `documents` its answers by path."""

    def __init__(self, stage: IssuerStage, **claims: Any) -> None:
        now = int(stage.clock.now().timestamp())
        self.claims: dict[str, Any] = {
            "iss": ISSUER, "aud": CLIENT, "sub": "p-1", "iat": now, "exp": now + 300, "auth_time": now,
        } | claims  # fmt: skip
        self.header: dict[str, Any] = {}
        self.key = ISSUER_KEY
        self.published = public(ISSUER_KEY)
        self.discovery: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }
        self.token: Any = None
        self.asked: list[str] = []
        self.answers: dict[str, httpx2.Response | Exception] = {}
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answered))
        self.client = OpenIdClient(stage.settings, ANSWERED_AT, stage.clock, http)

    def _answered(self, request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.rpartition("/")[2]
        self.asked.append(name)
        if name in self.answers:
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer
        documents = {"openid-configuration": self.discovery, "keys": self.published}
        return httpx2.Response(200, json=documents.get(name) or {"id_token": self.token or self._signed()})

    def _signed(self) -> str:
        header = {"alg": "ES384", "kid": self.key.kid} | self.header
        return jwt.encode(header, self.claims, self.key, algorithms=["ES384"])

    async def authenticate(self, attempt: SignInTry, **answer: str) -> Any:
        """A browser comes back with a code of this issuer."""
        self.claims.setdefault("nonce", attempt.derived("nonce"))
        given = {"state": attempt.derived("state"), "code": "c", "iss": ISSUER}
        return await self.client.authenticate(attempt, given | answer)


class Browser:
    """A browser that keeps cookies and follows nothing by itself."""

    def __init__(self, app: FastAPI, stage: IssuerStage) -> None:
        self._stage = stage
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ADDRESS)
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """Follow a link."""
        return self._kept(await self.http.get(path, headers=self._headers(headers)))

    async def post(self, path: str, fields: Mapping[str, str], **headers: str | None) -> httpx2.Response:
        """Send a form of a page of the same site, unless `headers` say otherwise."""
        said = {"sec_fetch_site": "same-origin", "origin": "null", **headers}
        kept = {name.replace("_", "-"): value for name, value in said.items() if value is not None}
        return self._kept(await self.http.post(path, data=dict(fields), headers=self._headers(kept)))

    async def sign_in(self, person: str = "p-1", path: str = "/ops/sign-in") -> httpx2.Response:
        """All the way from the link to the page that was asked for."""
        sent = await self.get(path)
        assert sent.status_code == 303, sent.text
        told = await self._stage.sign_in(sent.headers["location"], person)
        return await self.come_back(told)

    async def come_back(self, told: Mapping[str, str]) -> httpx2.Response:
        """From the issuer, with what it told."""
        return self._kept(await self.http.get(ANSWERED_AT, params=dict(told), headers=self._headers({})))

    def _headers(self, more: Mapping[str, str]) -> dict[bytes, bytes]:
        # Of its own: the library's jar sends no `Secure` cookie in the clear, as browsers do on loopback.
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {**({"cookie": cookies} if cookies else {}), **more}
        return {name.encode(): value.encode("latin-1") for name, value in given.items()}

    def _kept(self, answer: httpx2.Response) -> httpx2.Response:
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value, _, flags = rest.partition(";")
            assert name.startswith("__Host-")
            assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= {
                one.strip() for one in flags.split(";")
            }
            self.cookies[name] = value.strip('"')
            if "Max-Age=0" in flags:
                del self.cookies[name]
        return answer


def asked_of(address: str) -> dict[str, str]:
    """What a browser is sent to the issuer with."""
    return {name: one[0] for name, one in parse_qs(urlsplit(address).query).items()}
