"""Who may say what is in force: three organisations hold a key each, and two of them sign every document."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel

from schemas.events.governance import (
    AgencyCurrent,
    GovernanceSignature,
    ProtocolCurrent,
    ServiceCurrent,
    Signatures,
    document_hash,
)
from schemas.wire.body import key_of
from schemas.wire.cloudevents import LetterReason, Unusable
from schemas.wire.public_keys import public_bytes
from schemas.wire.signed import is_signed
from schemas.wire.strict_json import parse_json

LABEL: Final = b"concert/governance/v1\n"
NEEDED: Final = 2
HOLDERS: Final = 3

GovernanceBody = AgencyCurrent | ServiceCurrent | ProtocolCurrent
B = TypeVar("B", bound=GovernanceBody)
Signable = TypeVar("Signable", bound=BaseModel)


class SignatureFault(Unusable):
    """A document of governance that must not be kept; `reason` says why."""


class KeysUnreadable(ValueError):
    """The file of governance's public keys is not two or three keys, each under its own id."""


@dataclass(frozen=True, slots=True)
class GovernanceKeys:
    """The public keys that a service pins; a revoked one is one that no longer stands here."""

    keys: Mapping[str, bytes]
    """Key id → 32 bytes."""

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Read a JSON object of key id → `ed25519:…`."""
        try:
            found = {kid: public_bytes(key) for kid, key in dict(parse_json(text)).items()}
        except (ValueError, TypeError, AttributeError, Unusable):
            raise KeysUnreadable("write the keys as one JSON object of id and ed25519:… key") from None
        if not NEEDED <= len(found) <= HOLDERS or any(kid != kid_of(key) for kid, key in found.items()):
            raise KeysUnreadable(f"name {NEEDED} or {HOLDERS} keys, each under the id printed with it")
        return cls(found)

    def check(self, body: BaseModel, needed: int = NEEDED) -> None:
        """Refuse a document that fewer pinned keys than needed have signed, or that was altered."""
        if isinstance(body, ProtocolCurrent) and document_hash(body.document) != body.hash:
            raise SignatureFault(LetterReason.HASH_WRONG, "data/hash")
        signatures: Signatures = getattr(body, "signatures", ())
        if not signatures:
            raise SignatureFault(LetterReason.UNSIGNED, "data/signatures")
        message, good = signed_bytes(body), set()
        for one in signatures:
            if one.kid in self.keys:
                if not is_signed(message, base64.b64decode(one.value), self.keys[one.kid]):
                    raise SignatureFault(LetterReason.SIGNATURE_MISMATCH, "data/signatures")
                good.add(one.kid)
        if len(good) < needed:
            is_known = all(one.kid in self.keys for one in signatures)
            reason = LetterReason.SIGNED_ONCE if is_known else LetterReason.KEY_NOT_PINNED
            raise SignatureFault(reason, "data/signatures")


def kid_of(public: bytes) -> str:
    """The id of a governance key: `gk_` and the first 80 bits of its SHA-256 in base32."""
    return "gk_" + base64.b32encode(hashlib.sha256(public).digest()[:10]).decode().lower()


def signed_bytes(body: BaseModel) -> bytes:
    """The exact bytes under a signature: a label, a line end, and the JCS form without the signatures."""
    return LABEL + rfc8785.dumps(body.model_dump(mode="json", exclude={"signatures"}, exclude_none=True))


def sign(body: Signable, private: Ed25519PrivateKey) -> Signable:
    """The document with one signature more; a founding act is signed like what it brings about."""
    value = base64.b64encode(private.sign(signed_bytes(body))).decode()
    signature = GovernanceSignature(kid=kid_of(private.public_key().public_bytes_raw()), value=value)
    signatures: Signatures = getattr(body, "signatures", ())
    return body.model_copy(update={"signatures": (*signatures, signature)})


def version_of(body: GovernanceBody) -> int:
    """The version of the agency, the service or the protocol."""
    return body.document.version if isinstance(body, ProtocolCurrent) else body.version


def is_suspension(body: GovernanceBody, last: GovernanceBody | None) -> bool:
    """Whether nothing changes but that it is suspended: this protects, and waits for nobody's signature."""
    if isinstance(body, ProtocolCurrent) or last is None or isinstance(last, ProtocolCurrent):
        return False
    before = body.model_copy(update={"version": last.version, "status": last.status})
    return body.status == "suspended" and signed_bytes(before) == signed_bytes(last)


def news_of(received: Sequence[B], last: Mapping[str, B], keys: GovernanceKeys) -> list[B]:
    """What of a batch a reader keeps, in order, above the last good documents that it has, by their keys.

    The last one again is no news. SignatureFault for what is not signed, or no newer version.
    """
    known, news = dict(last), []
    for body in received:
        before = known.get(key_of(body))
        if before and version_of(body) <= version_of(before):
            if signed_bytes(body) != signed_bytes(before):
                raise SignatureFault(LetterReason.VERSION_NOT_NEWER, "data")
            continue
        if not is_suspension(body, before):
            keys.check(body)
        known[key_of(body)] = body
        news.append(body)
    return news
