"""What a vault can be asked over its socket; a frame is 4 bytes of length, and `op` and its words as JSON."""

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from schemas.events.access import (
    Access,
    EntryProof,
    Opening,
    PermitAnswer,
    PermitRequest,
    PublishedProofs,
)
from schemas.events.consent import Closure
from schemas.ids import DataKeyId, KeysetId, PacketId
from schemas.wire.body import Count, Flag, Instant
from schemas.wire.exact_bytes import Bytes, Bytes32, Bytes64
from schemas.wire.packets import Epoch, PacketPlace, Version, WrapPlace

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
LENGTH_BYTES: Final = 4
ROWS_MAX: Final = 500

Group = Annotated[str, Field(pattern=r"^[a-z]{4,20}$")]


def _as_text(document: object) -> object:
    """A JSON object's text; in a frame it stands in base64, which no JSON object looks like."""
    return document.encode() if isinstance(document, str) and document.startswith("{") else document


Document = Annotated[Bytes, BeforeValidator(_as_text)]
"""A signed document as its JSON text; of a public one the verdict is kept by this very text."""


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DataKeyWrap(_Frame):
    """One row of the table of data keys: whose key it is, and who can unwrap it."""

    keyset: KeysetId
    key: DataKeyId
    group: Group
    version: Version
    epoch: Epoch
    wrap: Annotated[Bytes, Field(repr=False)]
    is_adopted: Flag
    """Whether the epoch's key-encryption key holds it; else its intake key."""

    def place(self, sector: str) -> WrapPlace:
        """What the wrap is bound to."""
        return WrapPlace(sector, self.epoch, self.keyset, self.key, self.group, self.version)

    def packet_place(self, sector: str, packet: str, agency: str, schema: str) -> PacketPlace:
        """What the ciphertext under this key is bound to."""
        return PacketPlace(sector, packet, self.keyset, self.key, self.group, self.version, agency, schema)


class SubjectPlace(_Frame):
    """A subject of a case in the trail: the case's key, and the subject's number; 0 is the case itself."""

    case: DataKeyWrap
    number: Count


class StoredGroup(_Frame):
    """One field group as it lies in the database."""

    wrap: DataKeyWrap
    packet: PacketId
    agency: str
    schema_name: str
    kc: Bytes32
    ct: Annotated[Bytes, Field(repr=False)]


class ConsentGround(_Frame):
    """Her consent as the ground of a release: the signed version's exact JSON, and the signature."""

    document: Document
    signature: Bytes64


class DangerGround(_Frame):
    """Imminent danger as the ground of a release: who of another agency agreed, and who that is."""

    approval: Document
    """`xbtg/1`."""
    approver: Document
    """The approver's admission, `governance.agency_current`."""
    service: Document
    """The keys of the service of the approver's sector, `governance.service_current`."""


class NoWords(_Frame):
    """What asks for nothing but the operation."""


class SubjectRequest(_Frame):
    """A subject's key, to register it with the trail."""

    subject: SubjectPlace


class AskRequest(_Frame):
    """A nonce for the intent of this access."""

    access: Access


class OpenRequest(_Frame):
    """A release, with everything that it rests on."""

    asked_at: Instant
    request: PermitRequest
    answer: PermitAnswer
    subject: SubjectPlace
    groups: Annotated[tuple[StoredGroup, ...], Field(min_length=1, max_length=6)]
    key_record: Document
    recipient: Document
    """The recipient's admission, `governance.agency_current`."""
    service: Document
    """The sector service's own keys, `governance.service_current`."""
    protocol: Document
    """`governance.protocol_current`."""
    consent: ConsentGround | None = None
    danger: DangerGround | None = None


class SettleRequest(_Frame):
    """Proofs that entries which releases rested on were published."""

    published: PublishedProofs


class WrapsRequest(_Frame):
    """Wraps of writers or of older epochs, to be wrapped with the current epoch's key."""

    rows: Annotated[tuple[DataKeyWrap, ...], Field(min_length=1, max_length=ROWS_MAX)]


class ClosedRequest(_Frame):
    """Rows of the ledger, and how many the database holds."""

    rows: Annotated[tuple[Closure, ...], Field(max_length=ROWS_MAX)]
    newest: Count


class ClosureEntry(_Frame):
    """An entry of the trail that tells of a ledger row, opened, and how it leads to the signed head."""

    opening: Opening
    proof: EntryProof


class RebuildRequest(_Frame):
    """The ledger as the trail has it, in order, some rows a frame; `newest` is the last that there is."""

    checkpoint: str
    entries: Annotated[tuple[ClosureEntry, ...], Field(min_length=1, max_length=ROWS_MAX)]
    newest: Annotated[Count, Field(ge=1)]


def framed(content: bytes) -> bytes:
    """A frame of this content."""
    return len(content).to_bytes(LENGTH_BYTES) + content
