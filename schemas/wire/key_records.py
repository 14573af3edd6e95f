"""Key records (`xkey/1`): which key an agency's packets are sealed to, signed by its admitted signing key."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final, Literal, Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.ids import AgencyId, ReaderKeyId
from schemas.wire.body import Instant
from schemas.wire.exact_bytes import Bytes
from schemas.wire.hpke import is_public_key, key_id
from schemas.wire.public_keys import KeyFault, public_bytes
from schemas.wire.signed import SignatureWrong, SignedObject, check_signature, sign

VERDICTS_MAX: Final = 1_024
VALID_FOR_MAX: Final = timedelta(days=90)

KEY_RECORD_FAULTS: Final[Mapping[str, str]] = {
    "key_of_another_agency": "The key record is another agency's.",
    "key_agency_suspended": "The agency is not admitted, or is suspended.",
    "key_not_valid_now": "The key record is not valid yet, or no more; register a new key.",
    "key_record_unsigned": "The key record is not signed by the signing key in the agency's admission.",
}
"""What can be wrong with a key record at the moment of its use: code → sentence."""


class BadKeyRecord(Exception):
    """This key record does not stand for this agency's key now, by a code of KEY_RECORD_FAULTS."""

    def __init__(self, code: str) -> None:
        super().__init__(KEY_RECORD_FAULTS[code])
        self.code = code


class Admission(Protocol):
    """What of an admitted agency a key record rests on."""

    @property
    def agency(self) -> str:
        """Its id."""

    @property
    def status(self) -> str:
        """`active`, or it may get nothing."""

    @property
    def signing_key(self) -> str:
        """`ed25519:…`"""


class KeyRecord(SignedObject):
    """One public key of an agency, by its own word and for a time."""

    v: Literal["xkey/1"] = "xkey/1"
    holder: AgencyId
    key: ReaderKeyId
    use: Literal["packet", "channel"]
    suite: Annotated[int, Field(strict=True, ge=1, le=2)]
    public: Bytes
    not_before: Instant
    not_after: Instant

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.key != key_id(self.suite, self.public) or not is_public_key(self.suite, self.public):
            raise PydanticCustomError("weak_key", "the id of this suite and public key, and a sound one")
        if not self.not_before < self.not_after <= self.not_before + VALID_FOR_MAX:
            raise PydanticCustomError("key_time", "valid for ninety days at most, the first before the last")
        return self


def sign_key_record(
    private: Ed25519PrivateKey,
    *,
    holder: str,
    suite: int,
    public: bytes,
    not_before: datetime,
    not_after: datetime,
    use: Literal["packet", "channel"] = "packet",
) -> KeyRecord:
    """The record of a key, signed by its holder; the id follows from the key."""
    record = KeyRecord(
        holder=holder,
        key=key_id(suite, public),
        use=use,
        suite=suite,
        public=public,
        not_before=not_before,
        not_after=not_after,
    )
    return sign(record, private)


def check_key_record(record: KeyRecord, agency: Admission, at: datetime) -> bytes:
    """The public key to seal packets to, if this record stands for this agency at that moment."""
    if record.holder != agency.agency or record.use != "packet":
        raise BadKeyRecord("key_of_another_agency")
    if agency.status != "active":
        raise BadKeyRecord("key_agency_suspended")
    if not record.not_before <= at < record.not_after:
        raise BadKeyRecord("key_not_valid_now")
    if not _is_signed(record, agency.signing_key):
        raise BadKeyRecord("key_record_unsigned")
    return record.public


@lru_cache(VERDICTS_MAX)
def _is_signed(record: KeyRecord, signing_key: str) -> bool:
    """Public on both sides, and the same at each pull: so the verdict is kept."""
    try:
        check_signature(record, public_bytes(signing_key))
    except (KeyFault, SignatureWrong):
        return False
    return True
