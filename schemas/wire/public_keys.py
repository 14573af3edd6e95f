"""Public keys as agencies and services write them down: which may be taken, each with one spelling."""

import base64
from functools import lru_cache
from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pydantic import Field

PublicKey = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]{2,20}:([A-Za-z0-9+/]{4}){10,700}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        max_length=2900,
    ),
]
"""Its suite and the key in standard base64; so far `ed25519:…` for signing, `x25519:…` for encryption."""
EXAMPLE_KEYS: Final = frozenset(
    {
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=",  # schemas/examples
        "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBI=",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",  # RFC 8032, section 7.1
        "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
        "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=",
        "J4EX/BRMcjQPZ9DyMW6Dhs7/vyskKMnFH+98WX8dQm4=",
        "7Bcrk61eVjv0kyxw4SRQNMNUZ+8u/U1k6/gZaDRn4r8=",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",  # RFC 7748, section 6.1
        "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
    }
)
"""Public keys that stand in examples: their private halves are known to whoever can read, or to nobody."""
_PRIME: Final = 2**255 - 19
_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(range(32)))
"""Keeps no secret: the library refuses to multiply it by a point of low order, and that is all it is for."""


class KeyFault(ValueError):
    """A key that must not be used; its code is `unknown_suite`, `example_key` or `weak_key`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@lru_cache(1_024)  # the same few keys at each release
def public_bytes(key: str, suite: str = "ed25519") -> bytes:
    """The 32 bytes of an `ed25519` or `x25519` key.

    KeyFault for one of another suite, of an example, of low order, or written as no library writes it.
    """
    named, _, text = key.partition(":")
    if named != suite:
        raise KeyFault("unknown_suite")
    if text in EXAMPLE_KEYS:
        raise KeyFault("example_key")
    content = base64.b64decode(text)
    number = int.from_bytes(content, "little")
    point = number % 2**255 if suite == "ed25519" else number  # an Ed25519 key's last bit is the sign of x
    # One way to write each key, else the same key would pass for two agencies' own.
    if point >= _PRIME or len(content) != 32 or base64.b64encode(content).decode() != text:
        raise KeyFault("weak_key")
    if suite == "ed25519":  # the same point as X25519 writes it (RFC 7748, section 4.1)
        point = (1 + point) * pow(1 - point, -1, _PRIME) % _PRIME if point != 1 else 0
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(point.to_bytes(32, "little")))
    except ValueError:
        raise KeyFault("weak_key") from None
    return content


def written(public: bytes, suite: str = "ed25519") -> str:
    """A public key as it is written down."""
    return f"{suite}:{base64.b64encode(public).decode()}"
