"""What governance says is in force: agencies, services, their keys, and the protocols that join agencies."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from schemas.events.consent import PURPOSES, FieldGroup, Purpose
from schemas.ids import KINDS, AgencyId, OrganizationId, ProtocolId
from schemas.wire.body import Body, Code, Count, Flag, Instant, listed
from schemas.wire.minimisation import Visibility
from schemas.wire.public_keys import PublicKey

Sector = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,29}$")]
DocumentHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

TIMERS: Final = (
    "acknowledge", "answer", "start", "review", "feedback", "silence", "next_step", "next_attempt", "seal",
    "seal_after_end",
)  # fmt: skip
"""What a protocol gives lengths for: `next_step` after a decline or no answer, `next_attempt` where a service
was not given; which state starts which, the arbiter's table says."""
Timer = Annotated[Code, listed(TIMERS)]
Urgency = Literal["critical", "urgent", "priority", "routine"]
URGENCIES: Final = ("critical", "urgent", "priority", "routine")

Seconds = Annotated[int, Field(strict=True, ge=1, le=366 * 86_400)]


BASES: Final = ("consent", "own_case", "break_glass")
"""What a pull can rest on: her consent, that the asker recorded it, or imminent danger and two approvers."""


class PullRow(BaseModel):
    """Which fields of a group agencies of one sector may pull, for which purposes, on which basis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipient: Sector
    group: FieldGroup
    fields: tuple[Code, ...] = Field(min_length=1, max_length=20)
    purposes: tuple[Purpose, ...] = Field(min_length=1, max_length=len(PURPOSES))
    basis: Annotated[Code, listed(BASES)]


class ProtocolDocument(BaseModel):
    """An information-sharing protocol as data: who, how long, what may be seen, how fast to answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal["xisp/1"] = "xisp/1"
    id: ProtocolId
    version: Annotated[Count, Field(ge=1)]
    jurisdiction: Annotated[str, Field(pattern=r"^[a-z0-9-]{2,30}$")]
    parties: tuple[AgencyId, ...] = Field(min_length=2, max_length=200)
    valid_from: Instant
    valid_until: Instant
    entry_fresh_for_days: Annotated[Count, Field(ge=1, le=1000)]
    """How old the last confirmation of a directory entry may be when an offer names it."""
    matrix: Mapping[Code, Mapping[Sector, Visibility]]
    """Row → reader → what it may see, on the wire and of a packet."""
    pulls: tuple[PullRow, ...] = Field(default=(), max_length=500)
    """What may be pulled; whatever no row names, nobody gets."""
    timers: Mapping[Timer, Mapping[Urgency, Seconds]]

    def is_live(self, at: datetime) -> bool:
        """Whether new offers may rest on it at that moment."""
        return self.valid_from <= at < self.valid_until

    def joins(self, one: str, other: str) -> bool:
        """Whether both agencies are parties."""
        return one in self.parties and other in self.parties


def document_hash(document: BaseModel) -> str:
    """SHA-256 over the JCS form (RFC 8785) without signatures, in hex; decisions carry a protocol's."""
    content: Any = document.model_dump(mode="json", exclude={"signatures"})
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


class GovernanceSignature(BaseModel):
    """One holder's signature over a document; `governance_keys` says over which bytes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kid: Annotated[str, Field(pattern=KINDS["governance_key"].pattern)]
    value: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]
    """Ed25519, in standard base64."""


Signatures = Annotated[tuple[GovernanceSignature, ...], Field(max_length=6)]
"""Two holders' at least; none is needed for a suspension. More than three stand there while keys change."""


class AgencyCurrent(Body):
    """An agency as it stands now: whether it is active, and the keys it answers with."""

    type: ClassVar[str] = "governance.agency_current"
    key_field: ClassVar[str] = "agency"

    agency: AgencyId
    version: Count
    sector: Sector
    organization: OrganizationId
    """The agency's organisation in the service directory (HSDS)."""
    status: Literal["active", "suspended"]
    signing_key: PublicKey
    encryption_key: PublicKey
    probe: Flag = False
    """Whether it only proves that an installation works: statistics never count a referral of it."""
    signatures: Signatures = ()


class ServiceCurrent(Body):
    """A sector service as it stands now, with the keys that its consents and its vault's releases carry."""

    type: ClassVar[str] = "governance.service_current"
    key_field: ClassVar[str] = "service"

    service: Sector
    version: Count
    status: Literal["active", "suspended"]
    signing_key: PublicKey
    """What its consents are signed with."""
    vault_key: PublicKey
    """What its vault signs releases and intake keys with."""
    signatures: Signatures = ()


class ProtocolCurrent(Body):
    """A protocol as it stands now, with the hash that every decision under it carries."""

    type: ClassVar[str] = "governance.protocol_current"
    key_field: ClassVar[str] = "document.id"

    document: ProtocolDocument
    hash: DocumentHash
    signatures: Signatures = ()
