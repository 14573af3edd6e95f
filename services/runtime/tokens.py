"""Who asks on the agencies' port: access tokens of type `at+jwt` (RFC 9068), signed ES384."""

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Final

from joserfc import jws
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from schemas.ids import AgencyId
from schemas.wire.strict_json import parse_json
from services.runtime.clock import Clock
from services.runtime.errors import Refused
from services.runtime.settings import IssuerSettings

ALGORITHM: Final = "ES384"
TYPE: Final = "at+jwt"
TOKEN_BYTES_MAX: Final = 8 * 1024
LIFE_SECONDS_MAX: Final = 3_600
LEEWAY_SECONDS: Final = 5
TOKENS_REMEMBERED: Final = 1_000

NumericDate = Annotated[float, Field(ge=0, le=253_402_300_799)]
"""Seconds since 1970, whole or not (RFC 7519), up to the last that a calendar has."""
PSEUDONYM: Final = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"
Pseudonym = Annotated[str, Field(pattern=PSEUDONYM)]


class Unauthenticated(Refused):
    """No token, or one that does not hold."""

    code = "unauthenticated"
    sentence = "send a valid access token of this installation's issuer, made for this service, as Bearer"
    status = 401
    headers: ClassVar = {"www-authenticate": 'Bearer error="invalid_token"'}


class TokenMissing(Unauthenticated):
    """Nothing came that claims to be a token, so there is no error to tell of (RFC 6750, §3.1)."""

    headers: ClassVar = {"www-authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class Caller:
    """The person behind a request, by the agency's own pseudonym, and the system that they use."""

    staff: str
    client: str
    agency: str
    role: str


class ActClaim(BaseModel):
    """The system that acts for the person (RFC 8693, §4.1)."""

    model_config = ConfigDict(extra="ignore", strict=True)

    client_id: Pseudonym


class Claims(BaseModel):
    """The claims that every access token must have."""

    model_config = ConfigDict(extra="ignore", strict=True)

    iss: str
    aud: str | list[str]
    exp: NumericDate
    iat: NumericDate
    nbf: NumericDate = 0
    jti: str
    sub: Pseudonym
    act: ActClaim
    agency: AgencyId
    role: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]


def _check_header(token: str) -> None:
    """Refuse what the library would read in a lenient way, or stumble over."""
    if len(token) > TOKEN_BYTES_MAX:
        raise Unauthenticated
    encoded = token.partition(".")[0].encode()
    header = parse_json(b64decode(encoded + b"=" * (-len(encoded) % 4), b"-_", validate=True))
    # `crit` names what must be understood, and we understand nothing besides (RFC 7515, §4.1.11).
    if (
        not isinstance(header, dict)
        or "crit" in header
        or str(header.get("typ")).lower() not in (TYPE, f"application/{TYPE}")
    ):
        raise Unauthenticated


def token_reader(keys: KeySet, *, issuer: str, audience: str, clock: Clock) -> Callable[[Request], Caller]:
    """Gives the caller of a request; raises Unauthenticated, and never says which check failed.

    A signature once checked is not checked again, the times are.
    """

    @lru_cache(maxsize=TOKENS_REMEMBERED)
    def signed(token: str) -> Claims:
        try:
            _check_header(token)
            opened = jws.deserialize_compact(token, keys, algorithms=[ALGORITHM])
            return Claims.model_validate(parse_json(opened.payload or b""))
        except Exception as error:  # whatever a library raises over bytes from outside: the unexpected denies
            raise Unauthenticated from error

    def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        claims, now = signed(token.strip()), clock.now().timestamp()
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        is_meant = claims.iss == issuer and audience in audiences
        begins = max(claims.iat, claims.nbf) - LEEWAY_SECONDS
        is_live = begins <= now < claims.exp + LEEWAY_SECONDS
        if not (is_meant and is_live and 0 < claims.exp - claims.iat <= LIFE_SECONDS_MAX):
            raise Unauthenticated
        return Caller(claims.sub, claims.act.client_id, claims.agency, claims.role)

    return caller


def token_reader_of(settings: IssuerSettings, audience: str, clock: Clock) -> Callable[[Request], Caller]:
    """The same, for the issuer that the operator chose."""
    keys = KeySet.import_key_set(json.loads(settings.keys_file.read_text()))
    return token_reader(keys, issuer=settings.name, audience=audience, clock=clock)
