"""Packets at rest (`xpkt/1`), their keys (`xint/1`, `xkek/1`) and their release (`xrel/1`), byte by byte."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import AgencyId, ReaderKeyId, ReferralId, ReleaseId
from schemas.wire.body import Code, Instant
from schemas.wire.exact_bytes import Bytes, Bytes32
from schemas.wire.hpke import CannotOpen, length_prefixed, open_sealed, seal
from schemas.wire.signed import SignedObject, check_signature, sign
from schemas.wire.strict_json import MalformedJson, parse_json

CASE_KEY: Final = "case"
"""The pseudo-group of a case's own key, which is wrapped like a data key and has no packet."""
DATA_KEY_BYTES: Final = 32
CONTENT_BYTES_MAX: Final = 256 * 1024 - 4  # with its length it fills the largest size
KEK_NONCE_BYTES: Final = 12
KEK_WRAP_BYTES: Final = KEK_NONCE_BYTES + DATA_KEY_BYTES + 16
_ONCE: Final = bytes(12)
"""The nonce of a packet's ciphertext: each of its keys encrypts once."""

Epoch = Annotated[str, Field(pattern=r"^e[1-9][0-9]{0,8}$")]
Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]


class PacketTooLarge(ValueError):
    """More than a field group may hold."""


class PacketPlace(NamedTuple):
    """Which version of which field group of which packet: what its ciphertext is bound to, in this order."""

    sector: str
    packet: str
    keyset: str
    key: str
    group: str
    version: str
    agency: str
    schema: str

    def associated_data(self) -> bytes:
        """The bytes that a ciphertext opens under, and no other."""
        return length_prefixed("xpkt/1", *self)


class WrapPlace(NamedTuple):
    """Which data key a wrap holds, and the epoch whose key holds it; bound in this order."""

    sector: str
    epoch: str
    keyset: str
    key: str
    group: str
    version: str

    def bound(self, form: str, *suite: int) -> bytes:
        """The context of a wrap in one of its two forms."""
        return length_prefixed(form, *suite, *self)


class IntakeKey(SignedObject):
    """The public key of an epoch, signed by the vault: what writers wrap data keys with."""

    v: Literal["xint/1"] = "xint/1"
    sector: str
    epoch: Epoch
    suite: Annotated[int, Field(strict=True, ge=1, le=2)]
    public: Bytes
    not_before: Instant
    not_after: Instant


class ReleasedGroup(BaseModel):
    """One field group, sealed to the agency's key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Version
    ct: Bytes


class Release(SignedObject):
    """What leaves a vault: field groups for one agency, under one entry of the trail."""

    v: Literal["xrel/1"] = "xrel/1"
    release: ReleaseId
    referral: ReferralId
    owner: str
    recipient: AgencyId
    key: ReaderKeyId
    suite: Annotated[int, Field(strict=True, ge=1, le=2)]
    purpose: Code
    leaf: Bytes32
    groups: Annotated[Mapping[Code, ReleasedGroup], Field(min_length=1, max_length=6)]

    def bound(self, group: str, version: str) -> bytes:
        """The context under which one of its groups opens."""
        return length_prefixed(
            self.v, self.suite, self.release, self.referral, self.owner, self.recipient, self.key,
            self.purpose, self.leaf, group, version,
        )  # fmt: skip


def encrypt_group(place: PacketPlace, data_key: bytes, content: bytes) -> tuple[bytes, bytes]:
    """The ciphertext of a field group and the commitment to its key; a data key encrypts once."""
    bound = place.associated_data()
    content_key, committed = _keys(data_key, bound)
    return AESGCM(content_key).encrypt(_ONCE, _padded(content), bound), committed


def decrypt_group(place: PacketPlace, data_key: bytes, ct: bytes, kc: bytes) -> bytes:
    """The content; CannotOpen where ciphertext, commitment, key and place do not belong together."""
    bound = place.associated_data()
    content_key, committed = _keys(data_key, bound)
    check_commitment(committed, kc)
    try:
        return _content(AESGCM(content_key).decrypt(_ONCE, ct, bound))
    except InvalidTag:
        raise CannotOpen from None


def check_commitment(committed: bytes, kc: bytes) -> None:
    """Refuse a key other than the committed one; without this one ciphertext could open under two."""
    if not hmac.compare_digest(committed, kc):
        raise CannotOpen


def wrap_for_intake(
    intake: IntakeKey, keyset: str, key: str, group: str, version: str, data_key: bytes
) -> bytes:
    """A data key that the vault alone can unwrap: 80 bytes more or less, by suite."""
    place = WrapPlace(intake.sector, intake.epoch, keyset, key, group, version)
    return seal(intake.suite, intake.public, place.bound("xint/1", intake.suite), data_key)


def unwrap_at_intake(place: WrapPlace, suite: int, private: bytes, wrap: bytes) -> bytes:
    """The data key that a writer wrapped."""
    return _data_key(open_sealed(suite, private, place.bound("xint/1", suite), wrap))


def wrap_with_kek(place: WrapPlace, kek: bytes, nonce: bytes, data_key: bytes) -> bytes:
    """A data key under the key-encryption key of its epoch; the nonce is fresh."""
    return nonce + AESGCM(kek).encrypt(nonce, data_key, place.bound("xkek/1"))


def unwrap_with_kek(place: WrapPlace, kek: bytes, wrap: bytes) -> bytes:
    """The data key that the vault adopted."""
    nonce, sealed = wrap[:KEK_NONCE_BYTES], wrap[KEK_NONCE_BYTES:]
    try:
        return _data_key(AESGCM(kek).decrypt(nonce, sealed, place.bound("xkek/1")))
    except (InvalidTag, ValueError):
        raise CannotOpen from None


def seal_release(
    words: Mapping[str, Any],
    public: bytes,
    contents: Mapping[str, tuple[str, bytes]],
    private: Ed25519PrivateKey,
) -> Release:
    """A signed release of these contents (group → version, JSON); `words` are its other fields."""
    draft = Release.model_construct(**words, groups={})
    groups = {
        group: ReleasedGroup(
            version=version, ct=seal(draft.suite, public, draft.bound(group, version), _padded(content))
        )
        for group, (version, content) in contents.items()
    }
    return sign(Release(**words, groups=groups), private)


def open_release(release: Release, private: bytes, vault_public: bytes) -> dict[str, dict[str, Any]]:
    """The field groups, at the agency that they are sealed to; nothing of a release that is wrong in part.

    Raises SignatureWrong unless the owner's vault signed it, CannotOpen where a group does not open.
    """
    check_signature(release, vault_public)
    opened = {}
    for group, one in release.groups.items():
        plain = open_sealed(release.suite, private, release.bound(group, one.version), one.ct)
        opened[group] = parsed_group(_content(plain))
    return opened


def parsed_group(content: bytes) -> dict[str, Any]:
    """A group's fields; CannotOpen for what is no JSON object."""
    try:
        fields = parse_json(content)
    except MalformedJson:
        raise CannotOpen from None
    if not isinstance(fields, dict):
        raise CannotOpen
    return fields


def _keys(data_key: bytes, bound: bytes) -> tuple[bytes, bytes]:
    salt = hashlib.sha256(bound).digest()
    both = HKDF(algorithm=SHA256(), length=64, salt=salt, info=b"xpkt/1 key").derive(data_key)
    return both[:32], both[32:]


def _padded(content: bytes) -> bytes:
    """Its length, itself, and zeros up to 1, 2, 4 … KiB: the size tells hardly anything."""
    if len(content) > CONTENT_BYTES_MAX:
        raise PacketTooLarge
    framed = len(content).to_bytes(4) + content
    return framed.ljust(max(1024, 1 << (len(framed) - 1).bit_length()), b"\0")


def _content(padded: bytes) -> bytes:
    content = padded[4 : 4 + int.from_bytes(padded[:4])]
    if len(padded) < 4 or len(content) > CONTENT_BYTES_MAX or _padded(content) != padded:
        raise CannotOpen
    return content


def _data_key(raw: bytes) -> bytes:
    if len(raw) != DATA_KEY_BYTES:
        raise CannotOpen
    return raw
