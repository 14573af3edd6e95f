"""A token holds whole or not at all, and nobody is told which part did not."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from joserfc.jws import JWSRegistry

from services.runtime.tokens import (
    LEEWAY_SECONDS,
    LIFE_SECONDS_MAX,
    TOKEN_BYTES_MAX,
    Caller,
    TokenMissing,
    Unauthenticated,
    token_reader,
)
from tests.support.clock import NOON, StoppedClock

ISSUER = "urn:concert:test-local:local-issuer"
AUDIENCE = "urn:concert:test-local:health"
KEY = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, auto_kid=True)
ES384 = JWSRegistry.algorithms["ES384"]
PUBLIC = KeySet([ECKey.import_key(KEY.as_dict(private=False))])
FOREIGN = ECKey.generate_key("P-384", {"kid": KEY.kid or ""})
NOW = int(NOON.timestamp())
HEADER = {"alg": "ES384", "typ": "at+jwt", "kid": KEY.kid}
CLAIMS: Mapping[str, Any] = {
    "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW, "jti": "one", "sub": "p-17",
    "act": {"client_id": "north-clinic-system"}, "agency": "north-clinic", "role": "intake",
}  # fmt: skip


def a_token(header: Mapping[str, Any] = HEADER, key: Any = KEY, **claims: Any) -> str:
    kept = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(dict(header), kept, key, algorithms=[header["alg"]])


def part(content: Any) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def unsigned(alg: str) -> str:
    return f"{part({**HEADER, 'alg': alg})}.{part(dict(CLAIMS))}."


def signed_with_the_public_key(**more: Any) -> str:
    """The old trick: the public key, which everybody has, taken as the secret of an HMAC."""
    signed = f"{part({**HEADER, 'alg': 'HS256', **more})}.{part(dict(CLAIMS))}"
    signature = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def with_other_claims() -> str:
    """Another agency's name under a signature that is good for ours."""
    header, _, signature = a_token().split(".")
    return f"{header}.{part({**CLAIMS, 'agency': 'south-clinic'})}.{signature}"


def with_a_torn_signature() -> str:
    header, claims, signature = a_token().split(".")
    turned = bytes([urlsafe_b64decode(signature + "==")[0] ^ 1]) + urlsafe_b64decode(signature + "==")[1:]
    return f"{header}.{claims}.{urlsafe_b64encode(turned).rstrip(b'=').decode()}"


def a_request(**headers: str) -> Request:
    raw = [(name.encode(), content.encode("latin-1")) for name, content in headers.items()]
    return Request({"type": "http", "headers": raw})


def read(token: str, audience: str = AUDIENCE) -> Caller:
    reader = token_reader(PUBLIC, issuer=ISSUER, audience=audience, clock=StoppedClock())
    return reader(a_request(authorization=f"Bearer {token}"))


@pytest.mark.parametrize("audience", [AUDIENCE, ["urn:concert:test-local:police", AUDIENCE]])
def test_a_good_token_tells_person_system_agency_and_role(audience: Any) -> None:
    assert read(a_token(aud=audience)) == Caller("p-17", "north-clinic-system", "north-clinic", "intake")


def with_parts(header: bytes, claims: bytes) -> str:
    """A token of the issuer over bytes that no library would write."""
    signed = b".".join(urlsafe_b64encode(one).rstrip(b"=") for one in (header, claims))
    signature = ES384.sign(signed, KEY)
    return f"{signed.decode()}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def part_of(content: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(content)).encode()


def with_header(**more: Any) -> str:
    return with_parts(part_of({**HEADER, **more}), part_of(CLAIMS))


def deep(levels: int) -> bytes:
    return part_of(CLAIMS)[:-1] + b',"x":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/at+JWT"])
def test_either_name_of_the_type_is_taken(typ: str) -> None:
    assert read(a_token({**HEADER, "typ": typ})).agency == "north-clinic"


@pytest.mark.parametrize("claims", [
    {"exp": NOW + 300.5, "iat": NOW - 0.25}, {"nbf": NOW}, {"nbf": NOW - 0.5}, {"nbf": NOW + LEEWAY_SECONDS},
    {"exp": NOW + LIFE_SECONDS_MAX},
])  # fmt: skip
def test_times_may_have_fractions_and_a_beginning(claims: Mapping[str, Any]) -> None:
    assert read(a_token(**claims)).agency == "north-clinic"


BAD: Mapping[str, Callable[[], str]] = {
    "alg none": lambda: unsigned("none"),
    "alg None": lambda: unsigned("None"),
    "no signature": lambda: unsigned("ES384"),
    "HS256 with the public key": signed_with_the_public_key,
    "HS256 with the public key, without its id": lambda: signed_with_the_public_key(kid="other"),
    "another curve": lambda: a_token({**HEADER, "alg": "ES256"}, ECKey.generate_key("P-256")),
    "a foreign key under our key's id": lambda: a_token(key=FOREIGN),
    "a foreign key beside": lambda: a_token({**HEADER, "jwk": FOREIGN.as_dict(private=False)}, FOREIGN),
    "an unknown key id": lambda: a_token({**HEADER, "kid": "unknown"}, FOREIGN),
    "other claims under a good signature": with_other_claims,
    "a torn signature": with_a_torn_signature,
    "typ JWT": lambda: a_token({**HEADER, "typ": "JWT"}),
    "no typ": lambda: a_token({"alg": "ES384", "kid": KEY.kid}),
    "an ID token's typ": lambda: a_token({**HEADER, "typ": "id+jwt"}),
    "another issuer": lambda: a_token(iss="urn:concert:test-local:other"),
    "no issuer": lambda: a_token(iss=None),
    "for another service": lambda: a_token(aud="urn:concert:test-local:police"),
    "for others": lambda: a_token(aud=["urn:concert:test-local:police"]),
    "for a longer name": lambda: a_token(aud=AUDIENCE + "x"),
    "for nobody": lambda: a_token(aud=[]),
    "no audience": lambda: a_token(aud=None),
    "expired": lambda: a_token(exp=NOW - LEEWAY_SECONDS),
    "no end": lambda: a_token(exp=None),
    "an end in text": lambda: a_token(exp=str(NOW + 300)),
    "from the future": lambda: a_token(iat=NOW + LEEWAY_SECONDS + 1),
    "no beginning": lambda: a_token(iat=None),
    "no id": lambda: a_token(jti=None),
    "no person": lambda: a_token(sub=None),
    "a name for a person": lambda: a_token(sub="Amina Quillon"),
    "no acting system": lambda: a_token(act=None),
    "an acting system without id": lambda: a_token(act={}),
    "no agency": lambda: a_token(agency=None),
    "no agency's id": lambda: a_token(agency="North Clinic"),
    "no role": lambda: a_token(role=None),
    "a role with spaces": lambda: a_token(role="all of them"),
    "not yet": lambda: a_token(nbf=NOW + LEEWAY_SECONDS + 1),
    "not yet, with a fraction": lambda: a_token(nbf=NOW + LEEWAY_SECONDS + 0.5),
    "not yet, in text": lambda: a_token(nbf=str(NOW)),
    "not yet, as a truth": lambda: a_token(nbf=True),
    "not yet, as nothing": lambda: with_parts(part_of(HEADER), part_of({**CLAIMS, "nbf": None})),
    "a life of over an hour": lambda: a_token(exp=NOW + LIFE_SECONDS_MAX + 1),
    "an end before the beginning": lambda: a_token(exp=NOW, iat=NOW + 1),
    "an end beyond the calendar": lambda: a_token(exp=1e300),
    "nothing that must be understood": lambda: with_header(crit=[]),
    "something that must be understood": lambda: with_header(crit=["b64"], b64=True),
    "a known word that must be understood": lambda: with_header(crit=["typ"]),
    "no list that must be understood": lambda: with_header(crit=5),
    "a header that is a list": lambda: with_parts(b'["alg","typ"]', part_of(CLAIMS)),
    "claims of thousands of levels": lambda: with_parts(part_of(HEADER), deep(3_000)),
    "claims that are a list": lambda: with_parts(part_of(HEADER), b"[]"),
    "a claim twice": lambda: with_parts(part_of(HEADER), part_of(CLAIMS)[:-1] + b',"role":"other"}'),
    "a huge token": lambda: a_token(filler="x" * TOKEN_BYTES_MAX),
    "no token at all": lambda: "",
    "not a token": lambda: "one.two.three",
    "not ASCII": lambda: "é.é.é",
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_hold_is_refused_and_nobody_is_told_why(what: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        read(BAD[what]())

    assert (refused.value.args, str(refused.value)) == ((), str(Unauthenticated()))


def test_what_the_library_did_not_expect_is_refused_too() -> None:
    def unhashable(_: Any) -> Any:
        raise TypeError

    keys: Any = unhashable
    reader = token_reader(keys, issuer=ISSUER, audience=AUDIENCE, clock=StoppedClock())

    with pytest.raises(Unauthenticated):
        reader(a_request(authorization=f"Bearer {a_token()}"))


@pytest.mark.parametrize(
    "claims", [{"exp": NOW - LEEWAY_SECONDS + 1, "iat": NOW - 300}, {"iat": NOW + LEEWAY_SECONDS}]
)
def test_clocks_may_differ_by_a_few_seconds(claims: Mapping[str, Any]) -> None:
    assert read(a_token(**claims)).agency == "north-clinic"


def test_the_token_comes_as_bearer_and_ages_with_the_clock() -> None:
    clock = StoppedClock()
    reader = token_reader(PUBLIC, issuer=ISSUER, audience=AUDIENCE, clock=clock)
    request = a_request(authorization=f"Bearer {a_token()}")

    assert reader(request).staff == "p-17"
    clock.forward(timedelta(seconds=300 + LEEWAY_SECONDS))
    with pytest.raises(Unauthenticated):
        reader(request)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer x {}"])
def test_no_other_way_of_sending_it_is_taken(header: str) -> None:
    reader = token_reader(PUBLIC, issuer=ISSUER, audience=AUDIENCE, clock=StoppedClock())

    with pytest.raises(Unauthenticated):
        reader(a_request(authorization=header.format(a_token())))
    with pytest.raises(TokenMissing) as missing:
        reader(a_request())
    assert missing.value.headers == {"www-authenticate": "Bearer"}
