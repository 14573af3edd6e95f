"""What an issuer publishes of itself (OpenID Connect Discovery 1.0), and what else it answers: bounded."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.wire.strict_json import MalformedJson, parse_json
from services.runtime.clock import Clock
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.runtime.peers import AnswerTooLong, answer_within

ANSWER_BYTES_MAX: Final = 64 * 1024
ANSWERED_WITHIN_SECONDS: Final = 5.0
CONNECTIONS_MAX: Final = 4
"""How much of the issuer's time whoever comes with made-up codes can have at once."""
KEYS_MAX: Final = 32
KEPT_FOR: Final = timedelta(hours=1)
UNKNOWN_KEY_ASKED_AFTER: Final = timedelta(minutes=1)
"""An unknown key may be a new one; however many come, the issuer is asked no more often than this."""
TRIED_AGAIN_AFTER: Final = timedelta(seconds=2)

Endpoint = Annotated[str, Field(pattern=r"^https?://[!-~]{1,500}$")]


class IssuerFault(Exception):
    """The issuer answered what cannot be used; the code says what is wrong with it."""


class Discovery(BaseModel):
    """Where everything is."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)

    issuer: str
    authorization_endpoint: Endpoint
    token_endpoint: Endpoint
    jwks_uri: Endpoint
    authorization_response_iss_parameter_supported: bool = False


class PublishedKeys(BaseModel):
    """The keys that the issuer may sign with, as a JSON Web Key Set."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    keys: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=KEYS_MAX)]


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """What the issuer published when it was asked."""

    discovery: Discovery
    keys: Mapping[str, Key]
    at: datetime


class IssuerDocuments:
    """Asks the issuer for its documents and keeps them; one question at a time, however many wait for it."""

    def __init__(self, issuer: str, http: httpx2.AsyncClient, clock: Clock) -> None:
        self._issuer = issuer
        self._http = http
        self._clock = clock
        self._one_asks = asyncio.Lock()
        self._record: IssuerRecord | None = None
        self._failed_at: datetime | None = None

    async def discovery(self) -> Discovery:
        """Where everything is; raises Unavailable."""
        return (await self._current(KEPT_FOR)).discovery

    async def key(self, kid: str) -> Key | None:
        """The key of that name; where it is unknown the issuer is asked again; raises Unavailable."""
        found = (await self._current(KEPT_FOR)).keys.get(kid)
        return found or (await self._current(UNKNOWN_KEY_ASKED_AFTER)).keys.get(kid)

    async def ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and content of an answer; raises Unavailable, and IssuerFault."""
        within, limit = ANSWERED_WITHIN_SECONDS, ANSWER_BYTES_MAX
        try:
            status, body = await answer_within(within, self._http, method, url, bytes_max=limit, data=form)
            content = parse_json(body)
        except (httpx2.TransportError, httpx2.InvalidURL, TimeoutError) as error:
            raise Unavailable("the issuer does not answer") from error
        except AnswerTooLong:
            raise IssuerFault("answer_too_large") from None
        except MalformedJson:
            content = None
        if not isinstance(content, dict):
            raise IssuerFault("answer_malformed")
        return status, content

    async def _current(self, kept_for: timedelta) -> IssuerRecord:
        async with self._one_asks:
            now = self._clock.now()
            if self._record and _is_within(kept_for, self._record.at, now):
                return self._record
            if self._failed_at and _is_within(TRIED_AGAIN_AFTER, self._failed_at, now):
                raise Unavailable("the issuer did not answer a moment ago")
            self._failed_at = now
            try:
                self._record = await self._read()
            except IssuerFault as fault:
                log().error("issuer_unusable", error_code=str(fault))
                raise Unavailable("the issuer's documents cannot be used") from fault
            self._failed_at = None
            return self._record

    async def _read(self) -> IssuerRecord:
        try:
            where = Discovery.model_validate(
                await self._document(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            )
            if where.issuer != self._issuer:
                raise IssuerFault("other_issuer")
            endpoints = (where.authorization_endpoint, where.token_endpoint, where.jwks_uri)
            if self._issuer.startswith("https:") and not all(one.startswith("https:") for one in endpoints):
                raise IssuerFault("endpoint_in_the_clear")
            published = PublishedKeys.model_validate(await self._document(where.jwks_uri))
        except ValidationError:
            raise IssuerFault("document_malformed") from None
        return IssuerRecord(where, dict(_keys(published)), self._clock.now())

    async def _document(self, url: str) -> dict[str, Any]:
        status, content = await self.ask("GET", url)
        if status != httpx2.codes.OK:
            raise IssuerFault("no_document")
        return content


def _keys(published: PublishedKeys) -> list[tuple[str, Key]]:
    """Those that have a name and can be read; an issuer may publish others for others."""
    found: list[tuple[str, Key]] = []
    for one in published.keys:
        if one.get("kty") not in ("EC", "RSA") or one.get("use", "sig") != "sig":
            continue
        try:
            [key] = KeySet.import_key_set({"keys": [one]})
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(kid := one.get("kid"), str):
            found.append((kid, key))
    return found


def _is_within(span: timedelta, at: datetime, now: datetime) -> bool:
    """Also false of a time to come: the clock was set."""
    return timedelta() <= now - at < span
