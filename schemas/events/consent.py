"""What a survivor agreed to: her scope, its signed version, and the part of it that travels with an offer."""

from typing import Annotated, Final, Literal, Self, get_args

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.ids import AgencyId, ConsentId, KeysetId
from schemas.wire.body import Count, Flag, Instant, listed

PURPOSES: Final = ("care", "protection", "investigation", "legal_aid", "schooling", "shelter")

FieldGroup = Literal["contact", "protection", "clinical", "legal", "education", "narrative"]
FieldName = Annotated[str, Field(pattern=rf"^({'|'.join(get_args(FieldGroup))})\.[a-z][a-z_]{{0,39}}$")]
"""A single field of a group, as `clinical.injuries`: what no group alone lets anybody see."""
Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,39}$"), listed(PURPOSES)]
FormHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of the form's version and language: proof of what she was read, without a scan on the bus."""


class ConsentScope(BaseModel):
    """Who may receive which field groups and single fields, for what, until when."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    recipients: tuple[AgencyId, ...] = Field(min_length=1, max_length=20)
    groups: tuple[FieldGroup, ...] = Field(max_length=6)
    fields: dict[AgencyId, Annotated[tuple[FieldName, ...], Field(min_length=1, max_length=20)]] = Field(
        default={}, max_length=20
    )
    """Recipient → the single fields that she named for it, where its column needs that."""
    purposes: tuple[Purpose, ...] = Field(min_length=1, max_length=6)
    expires_at: Instant
    feedback: Flag = False
    """Whether the receiver may tell the owner how it went."""
    statistics: Flag = False
    """Whether she lets her case be counted in tables of persons."""

    @model_validator(mode="after")
    def _names_fields_within(self) -> Self:
        """A single field is named once, for a recipient of hers, within a group that she agreed to."""
        for recipient, names in self.fields.items():
            if recipient not in self.recipients:
                raise PydanticCustomError(
                    "not_a_recipient", "single fields for recipients of this consent alone"
                )
            if not {name.partition(".")[0] for name in names} <= set(self.groups):
                raise PydanticCustomError(
                    "group_not_consented", "single fields of groups of this consent alone"
                )
            if len(set(names)) < len(names):
                raise PydanticCustomError("repeated", "name each once")
        return self


class ConsentRef(BaseModel):
    """A version of a consent, by id and number."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: ConsentId
    version: Annotated[Count, Field(ge=1)]

    @property
    def ledger_id(self) -> str:
        """How the ledger of what is closed names this version."""
        return f"{self.id}/{self.version}"


class ConsentVersion(BaseModel):
    """One version of a consent as its sector service signs it (`xcns/2`); the newest version rules."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    v: Literal["xcns/2"] = "xcns/2"
    id: ConsentId
    version: Annotated[Count, Field(ge=1)]
    keyset: KeysetId
    """The case's keyset: a consent of another case covers nothing of this one."""
    scope: ConsentScope
    form_hash: FormHash
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    agency: AgencyId
    recorded_at: Instant

    @property
    def ref(self) -> ConsentRef:
        """The version by id and number."""
        return ConsentRef(id=self.id, version=self.version)

    def signed_bytes(self) -> bytes:
        """The exact bytes under the signature: a label, a line end, and the JCS form (RFC 8785)."""
        return b"concert/consent/v2\n" + rfc8785.dumps(self.model_dump(mode="json"))


class Closure(BaseModel):
    """A row of a sector's ledger: what no release may rest on any more, numbered 1, 2, … without gap.

    A keyset is closed to erase it, a consent version when she takes it back or a newer one replaces it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    n: Annotated[Count, Field(ge=1)]
    kind: Literal["keyset", "consent"]
    id: Annotated[str, Field(pattern=r"^(ks_[a-z2-7]{26}|cns_[a-z2-7]{26}/[1-9][0-9]{0,9})$")]


class ConsentProof(BaseModel):
    """The part of a consent that an offer shows the arbiter: one recipient, never the others."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Annotated[Count, Field(ge=1)]
    """Of the consent: a redirected referral may carry more groups only under a newer one."""
    recipient: AgencyId
    groups: tuple[FieldGroup, ...] = Field(max_length=6)
    purpose: Purpose
    expires_at: Instant
    feedback: Flag = False
    form_hash: FormHash
