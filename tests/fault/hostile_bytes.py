"""What strangers send over HTTP: bodies, tokens, paths and half requests, as tables."""

import base64
import json
import random
from collections.abc import Callable
from typing import Final


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def flipped(chance: random.Random, text: bytes) -> bytes:
    """The bytes with up to eight bits the other way round."""
    changed = bytearray(text)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


BODIES: Final[tuple[Callable[[int], str], ...]] = (
    lambda size: "[" * 33 + '"' + '\\"' * (size // 2),
    lambda size: "[" * size,
    lambda size: '{"a":' * (size // 5),
    lambda size: "9" * size,
    lambda size: "1e" + "9" * size,
    lambda size: '"' + "\\u0000" * (size // 6) + '"',
    lambda size: '"' + "\\ud800" * (size // 6) + '"',
    lambda size: "{" + '"a":1,' * (size // 6) + '"a":1}',
    lambda size: '{"reference":"' + "A" * size + '"}',
    lambda size: '{"reference":"\u202e' + "\u0092" * 40 + '"}',
    lambda size: " " * size,
    lambda _size: '{"reference":"A-1","version":2147483648,"agency":9007199254740992}',
)
"""By a size in characters."""

TOKENS: Final[tuple[Callable[[int], str], ...]] = (
    lambda size: "a" * size,
    lambda size: "." * size,
    lambda size: "e30." * (size // 4),
    lambda size: f"{_segment({'alg': 'none', 'typ': 'at+jwt'})}.{_segment({'sub': 'a' * size})}.",
    lambda size: f"{_segment({'alg': 'ES384', 'typ': 'at+jwt', 'crit': []})}.{_segment({})}.{'A' * 128}",
    lambda size: (
        f"{_segment({'alg': 'ES384', 'typ': 'at+jwt'})}."
        + base64.urlsafe_b64encode(b"[" * size + b"]" * size).decode().rstrip("=")
        + f".{'A' * 128}"
    ),
)

PATHS: Final = (
    "/v1/events?after=99999999999999999999&wait=99999",
    "/v1/events?after=-1",
    "/v1/events?after=1&after=2",
    "/v1/events?wait=nan",
    "/v1/services?limit=0&after=%00",
    "/v1/services?limit=1e9&after=%ff%fe",
    "/v1/services?after=" + "A" * 6_000,
    "/v1/referrals/ref_%2f..%2f..",
    "/v1/referrals/" + "a" * 7_000,
    "/v1/cases/%F0%9F%92%A5",
    "/v1/cases/case_0/consents",
    "//v1//worklist",
    "/../../etc/passwd",
    "/v1/worklist?" + "&".join(f"q{number}=1" for number in range(900)),
    "http://elsewhere.example/v1/worklist",
    "*",
)

STARTS: Final = (
    b"",
    b"P",
    b"POST /v1/cases HTTP/1.1\r\n",
    b"POST /v1/cases HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
    b"GET /readyz HTTP/1.1\r\nhost:",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"\x00\x00\x00\x10\x00\x12",
    b"\x00\x00\x00\x08\x04\xd2\x16/",
    b"\x00\x07\xff\xff\x00",
    b"EHLO relay.example\r\n",
)
"""How half-open connections begin: HTTP, TLS, Kafka, PostgreSQL, SMTP, or nothing at all."""
