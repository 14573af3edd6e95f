"""OpenID Connect as far as consoles need it: discovery, keys, the code flow with PKCE; tokens for systems.

RFC 6749, 7523, 7636 and 9207, OpenID Connect Core and Discovery 1.0. What it knows besides its files it holds
in memory: who was signing in while it ended begins again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from pydantic import BaseModel, ConfigDict, Field

from deploy.local.issuer.clients import AssertionReader, Client, ClientAssertion, NotProven, StaffAssertion
from deploy.local.issuer.persons import Persons
from schemas.topics import SERVICES
from schemas.wire.topic import source_of
from services.runtime.client_key import ASSERTED_BY
from services.runtime.clock import Clock
from services.runtime.consoles.open_id import challenge_of
from services.runtime.errors import define_refusal
from services.runtime.forms import FORM, form_of
from services.runtime.ids import random_bytes
from services.runtime.pages.answers import HEADERS, POLICY, style_routes
from services.runtime.pages.rendering import STYLE_PATH
from services.runtime.token_client import FOR_STAFF
from services.runtime.tokens import ALGORITHM, TYPE
from services.runtime.web import create_app

LIFE: Final = timedelta(minutes=5)
CODE_LIFE: Final = timedelta(minutes=1)
CODES_MAX: Final = 1_000
FOR_CODE: Final = "authorization_code"

ERRORS: Final = {
    "invalid_client": "prove who asks by a client_assertion of a registered key (private_key_jwt), made once",
    "invalid_grant": "the code or assertion is not this client's, was used, or has ended; begin again",
    "invalid_scope": f"name services in `scope`, among {', '.join(SERVICES)}",
    "unsupported_grant_type": f"ask with {FOR_CODE}, or with {FOR_STAFF}",
}
"""What the token endpoint refuses (RFC 6749, §5.2), and what to do."""

UnknownClient: Final = define_refusal(
    __name__, "unknown_client", "no client of this id and address is registered with the local issuer", 400
)


class GrantRefused(Exception):
    """The token endpoint says no, with a code of its closed list."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class SignInRequest(BaseModel):
    """What a console asks when it sends a browser here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    response_type: Literal["code"]
    client_id: Annotated[str, Field(max_length=64)]
    redirect_uri: Annotated[str, Field(max_length=500)]
    scope: Annotated[str, Field(pattern=r"^openid( |$)", max_length=200)]
    state: Annotated[str, Field(min_length=16, max_length=500)]
    nonce: Annotated[str, Field(min_length=16, max_length=500)]
    code_challenge: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    code_challenge_method: Literal["S256"]
    prompt: Literal["login"] | None = None
    max_age: Annotated[int, Field(ge=0, le=86_400)] | None = None


Asked = Annotated[SignInRequest, Query()]


@dataclass(frozen=True, slots=True)
class SignIn:
    """Somebody who signed in, until the console fetches who it was."""

    asked: SignInRequest
    person: str
    at: datetime


class Issuer:
    """Signs what it was shown; the name is the address under which it is asked."""

    def __init__(self, name: str, cell: str, key: ECKey, clients: Mapping[str, Client], clock: Clock) -> None:
        self.name = name
        self.clients = clients
        self.keys = KeySet([key])
        self._cell = cell
        self._key = key
        self._clock = clock
        self._codes: dict[str, SignIn] = {}
        audiences = (name, f"{name}/token")
        self._proofs = AssertionReader(ClientAssertion, clients, audiences, clock)
        self._staff = AssertionReader(StaffAssertion, clients, audiences, clock)

    def code(self, asked: SignInRequest, person: str) -> str:
        """A code that the console exchanges within a minute; the oldest goes where there are too many."""
        while len(self._codes) >= CODES_MAX:
            del self._codes[next(iter(self._codes))]
        code = random_bytes(32).hex()
        self._codes[code] = SignIn(asked, person, self._clock.now())
        return code

    def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """What the token endpoint answers; raises GrantRefused."""
        grants: dict[str, Callable[[Client, Mapping[str, str]], dict[str, Any]]] = {
            FOR_CODE: self._for_code,
            FOR_STAFF: self._for_staff,
        }
        client = self._proven(form)
        if form.get("grant_type") not in grants:
            raise GrantRefused("unsupported_grant_type")
        return grants[form["grant_type"]](client, form)

    def _proven(self, form: Mapping[str, str]) -> Client:
        try:
            client, said = self._proofs.read(form.get("client_assertion", ""))
        except NotProven:
            raise GrantRefused("invalid_client") from None
        if form.get("client_assertion_type") != ASSERTED_BY or said.sub != client.id:
            raise GrantRefused("invalid_client")
        return client

    def _for_code(self, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        found = self._codes.pop(form.get("code", ""), None)  # whoever guesses the rest has one try
        verifier = form.get("code_verifier", "")
        if (
            found is None
            or found.asked.client_id != client.id
            or found.asked.redirect_uri != form.get("redirect_uri")
            or found.asked.code_challenge != challenge_of(verifier)
            or not timedelta() <= self._clock.now() - found.at < CODE_LIFE
        ):
            raise GrantRefused("invalid_grant")
        who = {"sub": found.person, "auth_time": int(found.at.timestamp()), "nonce": found.asked.nonce}
        return self._answer() | {"id_token": self._signed("JWT", {"aud": client.id, **who})}

    def _for_staff(self, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            named, said = self._staff.read(form.get("assertion", ""))
        except NotProven:
            raise GrantRefused("invalid_grant") from None
        if named != client or not client.may_name(said.agency):
            raise GrantRefused("invalid_grant")
        services = form.get("scope", "").split(" ")
        if not {*services} <= {*SERVICES}:
            raise GrantRefused("invalid_scope")
        claims = {
            "aud": [source_of(self._cell, service) for service in services],
            "jti": random_bytes(16).hex(),
            "sub": said.sub,
            "act": {"client_id": f"{said.agency}-system"},
            "agency": said.agency,
            "role": said.role,
        }
        return self._answer() | {"access_token": self._signed(TYPE, claims)}

    def _answer(self) -> dict[str, Any]:
        # The code flow wants an access token too; nothing here takes it, so it says nothing.
        return {"access_token": random_bytes(32).hex(), "token_type": "Bearer", "expires_in": LIFE.seconds}

    def _signed(self, kind: str, claims: Mapping[str, Any]) -> str:
        now = int(self._clock.now().timestamp())
        header = {"typ": kind, "alg": ALGORITHM, "kid": self._key.kid}
        whole = {"iss": self.name, "iat": now, "exp": now + LIFE.seconds, **claims}
        return jwt.encode(header, whole, self._key, algorithms=[ALGORITHM])


def issuer_app(issuer: Issuer, persons: Persons, path: str) -> FastAPI:
    """The issuer's port; `path` is that of its name."""
    app = create_app(
        "Local issuer",
        lambda _request: None,
        forms={("POST", f"{path}/authorize"): FORM, ("POST", f"{path}/token"): FORM},
    )
    app.include_router(style_routes())
    app.add_exception_handler(GrantRefused, _refused)
    page = _sign_in_page()

    def client_of(asked: SignInRequest) -> Client:
        client = issuer.clients.get(asked.client_id)
        if client is None or client.comes_back_to != asked.redirect_uri:
            raise UnknownClient  # and no browser is sent to an address that nobody registered
        return client

    def shown(client: Client, *, was_refused: bool) -> Response:
        # A browser that follows the form to the console asks this page's policy whether it may.
        policy = POLICY.replace("form-action 'self'", f"form-action 'self' {client.comes_back_to}")
        body = page.render(client=client.id, style=STYLE_PATH, was_refused=was_refused)
        headers = HEADERS | {"content-security-policy": policy}
        return HTMLResponse(body, 403 if was_refused else 200, headers)

    @app.get(f"{path}/.well-known/openid-configuration")
    async def discover() -> Mapping[str, Any]:
        """Where everything is (OpenID Connect Discovery 1.0, §3)."""
        return {
            "issuer": issuer.name,
            "authorization_endpoint": f"{issuer.name}/authorize",
            "token_endpoint": f"{issuer.name}/token",
            "jwks_uri": f"{issuer.name}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "scopes_supported": ["openid", *SERVICES],
            "grant_types_supported": [FOR_CODE, FOR_STAFF],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": [ALGORITHM],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    @app.get(f"{path}/keys")
    async def keys() -> Mapping[str, Any]:
        """The public keys, as a JSON Web Key Set."""
        return dict(issuer.keys.as_dict(private=False))

    @app.get(f"{path}/authorize")
    async def ask(asked: Asked) -> Response:
        """The page on which a person signs in."""
        return shown(client_of(asked), was_refused=False)

    @app.post(f"{path}/authorize")
    async def sign_in(asked: Asked, form: Annotated[Mapping[str, str], Depends(form_of)]) -> Response:
        """Back to the console with a code, or the page once more."""
        client = client_of(asked)
        person = form.get("person", "")
        if not await persons.know(person, form.get("passphrase", "")):
            return shown(client, was_refused=True)
        answer = {"code": issuer.code(asked, person), "state": asked.state, "iss": issuer.name}
        return RedirectResponse(f"{client.comes_back_to}?{urlencode(answer)}", 303, HEADERS)

    @app.post(f"{path}/token")
    async def grant(form: Annotated[Mapping[str, str], Depends(form_of)]) -> Mapping[str, Any]:
        """Tokens for a code, or for what an agency's system says of the person behind it."""
        return issuer.grant(form)

    return app


async def _refused(_request: Request, error: Exception) -> Response:
    code = error.error if isinstance(error, GrantRefused) else "invalid_grant"
    status = 401 if code == "invalid_client" else 400
    return JSONResponse({"error": code, "error_description": ERRORS[code]}, status)


def _sign_in_page() -> Any:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return templates.get_template("sign_in.html")
