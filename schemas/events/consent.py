"""What a survivor agreed to: her scope, its signed version, and the part of it that travels with an offer."""

from typing import Annotated, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import AgencyId, ConsentId
from schemas.wire.body import Count, Flag, Instant, listed

PURPOSES: Final = ("care", "protection", "investigation", "legal_aid", "schooling", "shelter")

FieldGroup = Literal["contact", "protection", "clinical", "legal", "education", "narrative"]
Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,39}$"), listed(PURPOSES)]
FormHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of the form's version and language: proof of what she was read, without a scan on the bus."""


class ConsentScope(BaseModel):
    """Who may receive which field groups, for what, until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipients: tuple[AgencyId, ...] = Field(min_length=1, max_length=20)
    groups: tuple[FieldGroup, ...] = Field(max_length=6)
    purposes: tuple[Purpose, ...] = Field(min_length=1, max_length=6)
    expires_at: Instant
    feedback: Flag = False
    """Whether the receiver may tell the owner how it went."""


class ConsentRef(BaseModel):
    """A version of a consent, by id and number."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: ConsentId
    version: Annotated[Count, Field(ge=1)]


class ConsentVersion(BaseModel):
    """One version of a consent as its sector service signs it (`xcns/1`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal["xcns/1"] = "xcns/1"
    id: ConsentId
    version: Count
    scope: ConsentScope
    form_hash: FormHash
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    agency: AgencyId
    recorded_at: Instant

    def signed_bytes(self) -> bytes:
        """The exact bytes under the signature: a label, a line end, and the JCS form (RFC 8785)."""
        return b"concert/consent/v1\n" + rfc8785.dumps(self.model_dump(mode="json"))


class ConsentProof(BaseModel):
    """The part of a consent that an offer shows the arbiter: one recipient, never the others."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    recipient: AgencyId
    groups: tuple[FieldGroup, ...] = Field(max_length=6)
    purpose: Purpose
    expires_at: Instant
    feedback: Flag = False
    form_hash: FormHash
