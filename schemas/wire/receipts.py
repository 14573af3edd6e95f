"""The delivery receipt: what a reader tells the writer of a topic, so that nothing is lost unnoticed."""

from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import KINDS
from schemas.wire.body import COUNT_MAX, Body

PAIRS_MAX: Final = 500
"""How many keys one receipt names; it stays below half of what a record may hold."""


class AppliedKey(BaseModel):
    """A record key, and the highest number under it that was applied, nothing before it missing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_:-]{0,63}$")]
    sequence: Annotated[int, Field(strict=True, ge=1, le=COUNT_MAX)]


class DeliveryReceipt(Body):
    """Neither step nor fact: the runtime of both sides writes and reads it, and no handler sees it.

    One that names no key asks for all again that its reader has not confirmed: records went past it unread.
    """

    type: ClassVar[str] = "referral.receipt"
    key_field: ClassVar[str] = "reader"

    reader: Annotated[str, Field(pattern=KINDS["receipt"].pattern)]
    applied: Annotated[tuple[AppliedKey, ...], Field(max_length=PAIRS_MAX)]


def receipt_key(service: str) -> str:
    """The key of all receipts of one reader."""
    return KINDS["receipt"].prefix + service
