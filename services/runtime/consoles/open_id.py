"""A console's side of OpenID Connect: sends a browser to the issuer, and learns from it who came back.

Authorization code flow with PKCE, state and nonce (OpenID Connect Core 1.0; RFC 7523, 7636, 9207). All that
a try has to remember follows from a secret in the browser's cookie: who begins thousands fills nothing here.
"""

import hashlib
import hmac
import re
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Self
from urllib.parse import urlencode

import httpx2
from joserfc import jws
from pydantic import BaseModel, ConfigDict

from schemas.wire.strict_json import parse_json
from services.runtime.client_key import ClientKey
from services.runtime.clock import Clock
from services.runtime.consoles.issuer_documents import (
    ANSWERED_WITHIN_SECONDS,
    CONNECTIONS_MAX,
    IssuerDocuments,
    IssuerFault,
)
from services.runtime.errors import Unavailable, define_refusal
from services.runtime.ids import random_bytes
from services.runtime.logs import log
from services.runtime.settings import ConsoleSettings
from services.runtime.tokens import LEEWAY_SECONDS, TOKEN_BYTES_MAX, NumericDate, Pseudonym

AGE_MAX: Final = timedelta(hours=1)
"""How long ago the issuer may have asked a person who they are, where it is not to ask anew."""
TOKEN_LIFE_MAX: Final = timedelta(hours=1)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_BACK: Final = re.compile(r"(/[A-Za-z0-9_-]{1,80}){1,6}")
"""A page of this site: no host, no query, nothing encoded."""

SignInRefused: Final = define_refusal(
    __name__, "sign_in_refused", "this sign-in does not hold, or took too long; begin it again", 403
)


@dataclass(frozen=True, slots=True)
class SignInTry:
    """One try to sign in, all of which follows from a secret that its browser alone keeps."""

    secret: str
    back: str
    """The page that was asked for."""

    @classmethod
    def begun(cls, back: str, home: str) -> Self:
        """A new one; whatever is no page below `home` leads there."""
        is_ours = _BACK.fullmatch(back) and (back == home or back.startswith(f"{home}/"))
        return cls(_letters(random_bytes(32)), back if is_ours else home)

    @classmethod
    def read(cls, cookie: str, home: str) -> Self | None:
        """The one that a browser keeps, if that is what it sends."""
        secret, _, back = cookie.partition(".")
        kept = cls(secret, back)
        return kept if _SECRET.fullmatch(secret) and cls.begun(back, home).back == back else None

    @property
    def cookie(self) -> str:
        """What its browser keeps."""
        return f"{self.secret}.{self.back}"

    @property
    def verifier(self) -> str:
        """What only the issuer is told, with the code."""
        return self.derived("verifier")

    def derived(self, use: Literal["state", "nonce", "verifier"]) -> str:
        """A value that gives away neither the secret nor the others."""
        named = f"{use}\n{self.back}".encode()
        return _letters(hmac.digest(self.secret.encode(), named, "sha256"))


@dataclass(frozen=True, slots=True)
class Authentication:
    """Who it is, by the issuer's pseudonym, and when it last had them prove that."""

    person: str
    at: datetime


class IdToken(BaseModel):
    """What the issuer says of a sign-in."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    iss: str
    sub: Pseudonym
    aud: str | list[str]
    exp: NumericDate
    iat: NumericDate
    auth_time: NumericDate
    nonce: str


class OpenIdClient:
    """A console at the issuer."""

    def __init__(
        self, settings: ConsoleSettings, answered_at: str, clock: Clock, http: httpx2.AsyncClient
    ) -> None:
        """Browsers come back to the path `answered_at`."""
        self._settings = settings
        self._comes_back_to = f"{settings.address}{answered_at}"
        self._clock = clock
        self._key = ClientKey(settings.issuer, settings.client, settings.key_file)
        self._documents = IssuerDocuments(settings.issuer, http, clock)

    async def look(self) -> bool:
        """Keep what the issuer publishes at hand; raises Unavailable, so that somebody is told in time."""
        await self._documents.discovery()
        return False

    async def address_for(self, attempt: SignInTry, *, is_fresh: bool) -> str:
        """Where the browser goes to sign in, where it is to be fresh by a new proof; raises Unavailable."""
        where = (await self._documents.discovery()).authorization_endpoint
        asked = {
            "response_type": "code",
            "client_id": self._settings.client,
            "redirect_uri": self._comes_back_to,
            "scope": "openid",
            "state": attempt.derived("state"),
            "nonce": attempt.derived("nonce"),
            "code_challenge": challenge_of(attempt.verifier),
            "code_challenge_method": "S256",
        }
        asked |= {"prompt": "login", "max_age": "0"} if is_fresh else {"max_age": _seconds(AGE_MAX)}
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}"

    async def authenticate(self, attempt: SignInTry, answer: Mapping[str, str]) -> Authentication:
        """Who came back with this answer; raises SignInRefused, which never says why, and Unavailable."""
        try:
            return await self._authenticated(attempt, answer)
        except IssuerFault as fault:
            log().warning("sign_in_refused", error_code=str(fault))
        except Unavailable:
            raise
        except Exception as error:  # whatever a library raises over bytes from outside: the unexpected denies
            log().warning("sign_in_refused", error_class=type(error).__name__)
        raise SignInRefused

    async def _authenticated(self, attempt: SignInTry, answer: Mapping[str, str]) -> Authentication:
        if not hmac.compare_digest(answer.get("state", "").encode(), attempt.derived("state").encode()):
            raise IssuerFault("other_state")
        where = await self._documents.discovery()
        needs_iss = where.authorization_response_iss_parameter_supported
        if answer.get("iss", "" if needs_iss else where.issuer) != where.issuer:
            raise IssuerFault("other_issuer")  # two issuers must not be mixed up (RFC 9207)
        if "error" in answer or not answer.get("code"):
            raise IssuerFault("issuer_said_no")
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": self._comes_back_to,
            "code_verifier": attempt.verifier,
            "client_id": self._settings.client,
            **self._key.proof(self._clock.now()),
        }
        status, content = await self._documents.ask("POST", where.token_endpoint, form)
        if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
            raise Unavailable("the issuer fails")
        token = content.get("id_token")
        if status != httpx2.codes.OK or not isinstance(token, str):
            is_ours = content.get("error") == "invalid_client"
            raise IssuerFault("console_not_known_to_issuer" if is_ours else "code_refused")
        return self._checked(await self._opened(token), attempt)

    async def _opened(self, token: str) -> IdToken:
        if len(token) > TOKEN_BYTES_MAX:
            raise IssuerFault("token_too_large")
        header = jws.extract_compact(token.encode()).headers()
        if "crit" in header:  # names what must be understood, and we understand nothing besides (RFC 7515)
            raise IssuerFault("critical_header")
        kid = header.get("kid")
        key = await self._documents.key(kid) if isinstance(kid, str) else None
        if key is None:
            raise IssuerFault("unknown_key")
        opened = jws.deserialize_compact(token, key, algorithms=[self._settings.algorithm])
        return IdToken.model_validate(parse_json(opened.payload or b""))

    def _checked(self, said: IdToken, attempt: SignInTry) -> Authentication:
        now = self._clock.now().timestamp()
        since = now - LEEWAY_SECONDS
        wrong: Mapping[str, bool] = {
            "other_issuer": said.iss != self._settings.issuer,
            "other_audience": said.aud not in (self._settings.client, [self._settings.client]),
            "other_nonce": not hmac.compare_digest(said.nonce.encode(), attempt.derived("nonce").encode()),
            "ended": not since < said.exp <= now + TOKEN_LIFE_MAX.total_seconds() + LEEWAY_SECONDS,
            "not_yet": max(said.iat, said.auth_time) > now + LEEWAY_SECONDS,
            "too_long_ago": said.auth_time < since - AGE_MAX.total_seconds(),
        }
        for code, is_wrong in wrong.items():
            if is_wrong:
                raise IssuerFault(code)
        return Authentication(said.sub, datetime.fromtimestamp(said.auth_time, UTC))


def answer_path(console: str) -> str:
    """Where the issuer sends browsers back to, below a console's address; it has to know the whole."""
    return f"/{console}/sign-in/answer"


def issuer_http() -> httpx2.AsyncClient:
    """A client for the issuer alone: it is led nowhere else, by no setting of the machine either."""
    limits = httpx2.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=1)
    return httpx2.AsyncClient(
        verify=ssl.create_default_context(), timeout=ANSWERED_WITHIN_SECONDS, limits=limits, trust_env=False
    )


def challenge_of(verifier: str) -> str:
    """What is shown of a secret before it is told (RFC 7636, §4.2)."""
    return _letters(hashlib.sha256(verifier.encode()).digest())


def _letters(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f}"
