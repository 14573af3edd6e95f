"""Who asks on the agencies' port: access tokens of type `at+jwt` (RFC 9068), signed ES384."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final

from fastapi import Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.ids import AgencyId
from services.runtime.clock import Clock
from services.runtime.errors import Refused

ALGORITHM: Final = "ES384"
TYPE: Final = "at+jwt"
LEEWAY_SECONDS: Final = 5
TOKENS_REMEMBERED: Final = 1_000

Pseudonym = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


class Unauthenticated(Refused):
    """No token, or one that does not hold."""

    code = "unauthenticated"
    sentence = "send a valid access token of this installation's issuer, made for this service, as Bearer"
    status = 401


@dataclass(frozen=True, slots=True)
class Caller:
    """The person behind a request, by the agency's own pseudonym, and the system that she uses."""

    staff: str
    client: str
    agency: str
    role: str


class Actor(BaseModel):
    """The system that acts for the person (RFC 8693, §4.1)."""

    model_config = ConfigDict(extra="ignore", strict=True)

    client_id: Pseudonym


class Claims(BaseModel):
    """The claims that every access token must have."""

    model_config = ConfigDict(extra="ignore", strict=True)

    iss: str
    aud: str | list[str]
    exp: int
    iat: int
    jti: str
    sub: Pseudonym
    act: Actor
    agency: AgencyId
    role: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]


def read_token(token: str, keys: KeySet, *, issuer: str, audience: str, at: datetime) -> Caller:
    """Check signature, type and claims of a token; raises Unauthenticated, and never says which failed."""
    return _caller(_signed(token, keys), issuer=issuer, audience=audience, at=at)


def _signed(token: str, keys: KeySet) -> Claims:
    """The claims of a token whose signature and type hold, for now and ever."""
    try:
        opened = jwt.decode(token, keys, algorithms=[ALGORITHM])
        claims = Claims.model_validate(opened.claims)
    except (JoseError, ValidationError, ValueError) as error:
        raise Unauthenticated from error
    if str(opened.header.get("typ", "")).lower() != TYPE:
        raise Unauthenticated
    return claims


def _caller(claims: Claims, *, issuer: str, audience: str, at: datetime) -> Caller:
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    is_meant = claims.iss == issuer and audience in audiences
    if not is_meant or not claims.iat - LEEWAY_SECONDS <= at.timestamp() < claims.exp + LEEWAY_SECONDS:
        raise Unauthenticated
    return Caller(claims.sub, claims.act.client_id, claims.agency, claims.role)


def token_reader(keys: KeySet, *, issuer: str, audience: str, clock: Clock) -> Callable[[Request], Caller]:
    """Gives the caller of a request; a signature once checked is not checked again, the times are."""

    @lru_cache(maxsize=TOKENS_REMEMBERED)
    def signed(token: str) -> Claims:
        return _signed(token, keys)

    def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated
        return _caller(signed(token.strip()), issuer=issuer, audience=audience, at=clock.now())

    return caller
