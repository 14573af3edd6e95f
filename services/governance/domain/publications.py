"""What may be published: which version follows which, and what a document must say to be acted on."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from pydantic import ConfigDict

from schemas.events.consent import PURPOSES
from schemas.events.facts import ROWS
from schemas.events.governance import (
    BASES,
    TIMERS,
    URGENCIES,
    AgencyCurrent,
    ProtocolCurrent,
    ProtocolDocument,
    PullRow,
    ServiceCurrent,
)
from schemas.events.governance_keys import GovernanceBody, GovernanceKeys, SignatureFault, is_suspension
from schemas.events.packet import FIELD_ROWS, PACKET_ROWS
from schemas.events.policy import visible
from schemas.topics import SECTORS
from schemas.wire.minimisation import STATISTICS, allowed_to
from schemas.wire.public_keys import KeyFault, public_bytes
from services.governance.domain.life_cycle import GovernanceRegister
from services.runtime.errors import Refused, define_refusal

Kind = Literal["agency", "service", "protocol"]


class AgencyDocument(AgencyCurrent):
    """An agency as the operator writes it down; what nobody reads is refused, not dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceDocument(ServiceCurrent):
    """A sector service as the operator writes it down."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProbeProtocol(ProtocolCurrent):
    """A protocol among probes as the operator hands it in."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class PublicationReceipt:
    """What stands after a document was handed in, and whether it changed anything."""

    id: str
    version: int
    hash: str
    is_news: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """One version of an agency, a service or a protocol, as it is kept and published."""

    kind: Kind
    id: str
    version: int
    hash: str
    content: GovernanceBody
    published_at: datetime


COLUMNS: Final = frozenset({*SECTORS, "justice", STATISTICS})
"""Whom a protocol may speak of: sectors without a service here too. A column that is missing sees nothing."""
FIREWALL: Final[Mapping[str, Mapping[str, str]]] = {
    "education": {
        "need": "CN", "perpetrator_relation": "CN", "violence_type": "N", "incident_time": "N",
        "narrative": "N", "clinical": "N", "legal_wish": "N", "displacement": "N",
    },
    "police": {"displacement": "N"},
}  # fmt: skip
"""Column → row → the rights that partners may give at most: a school must not infer abuse from what it is
told, nor an authority that enforces the law who has no papers, whatever a committee decides."""


_define: Final = partial(define_refusal, __name__)

IdTaken: Final = _define("id_taken", "This id already belongs to something of another kind; choose another.")
VersionNotNext: Final = _define(
    "version_not_next", "A version follows the last one by one, and a published version never changes."
)
KeyInUse: Final = _define("key_in_use", "Another agency holds or held this key; make a fresh pair.")
SectorFixed: Final = _define(
    "sector_fixed", "An agency stays in its sector; suspend it, and admit it under a new id in the other one."
)
OrganizationInUse: Final = _define(
    "organization_in_use", "Another active agency answers for this organisation; suspend that one first."
)
AgencyNoPartner: Final = _define(
    "agency_no_partner",
    "Let the partners admit the organisation in this sector first; then publish its keys.",
    422,
)
ProbesAlone: Final = _define(
    "probes_alone",
    "Without a decision only a protocol among probes comes into force; let a committee adopt this one.",
    422,
)
UnknownSector: Final = _define("unknown_sector", "This installation has no service of that sector.", 422)
OtherId: Final = _define("other_id", "The id in the address and the id in the content must be the same.", 422)
PartyNotAdmitted: Final = _define(
    "party_not_admitted", "Each party must be an admitted partner with a sector, and be named once.", 422
)
ValidityOutOfOrder: Final = _define("validity_out_of_order", "The protocol must begin before it ends.", 422)
MatrixIncomplete: Final = _define(
    "matrix_incomplete",
    "The matrix must say what may be seen for each row and each party's sector, and for no unknown one.",
    422,
)
PullRowUnknown: Final = _define(
    "pull_row_unknown",
    "Each pull row must name a known sector, fields of its group, known purposes and a known basis.",
    422,
)
PullRowForbidden: Final = _define(
    "pull_row_forbidden",
    "A pull row may name no field that the matrix hides, no name or number without safe_contact, and as"
    " break_glass contact and protection alone.",
    422,
)
FirewallOpen: Final = _define(
    "firewall_open",
    "No protocol may show a school what kind of violence it was, nor the police who is displaced; narrow it.",
    422,
)
TimersIncomplete: Final = _define("timers_incomplete", "Each timer needs a length for each urgency.", 422)
UnknownSuite: Final = _define(
    "unknown_suite", "Write an Ed25519 key to sign as ed25519:…, an X25519 key to encrypt as x25519:….", 422
)
ExampleKey: Final = _define("example_key", "This key stands in a public example; make a fresh pair.", 422)
WeakKey: Final = _define("weak_key", "This key protects nothing; send the public half of a fresh pair.", 422)
"""Zero, of low order, or one of several ways to write the same key."""
Unsigned: Final = _define(
    "unsigned", "Let two of the three holders sign it: `concert governance keys sign FILE --key KEY`.", 422
)
SignedOnce: Final = _define(
    "signed_once",
    "One holder signed it, a second must: `concert governance keys sign FILE --key KEY`.",
    422,
)
KeyNotPinned: Final = _define(
    "key_not_pinned", "It has too few signatures by keys that this installation names, or names no more.", 422
)
SignatureMismatch: Final = _define(
    "signature_mismatch", "It was altered after it was signed; let two holders sign it as it is now.", 422
)
HashWrong: Final = _define(
    "hash_wrong", "The hash must be the document's; `concert governance keys sign` writes it.", 422
)
_OF_KEYS: Final = (UnknownSuite, ExampleKey, WeakKey)
OF_SIGNATURES: Final = (Unsigned, SignedOnce, KeyNotPinned, SignatureMismatch, HashWrong)
PROTOCOL_RULES: Final = (
    ValidityOutOfOrder, PartyNotAdmitted, MatrixIncomplete, FirewallOpen, TimersIncomplete, PullRowUnknown,
    PullRowForbidden,
)  # fmt: skip
"""What a protocol can break."""
_BY_REASON: Final[Mapping[str, type[Refused]]] = {one.code: one for one in (*_OF_KEYS, *OF_SIGNATURES)}


def check_protocol(document: ProtocolDocument, sector_of: Mapping[str, str]) -> None:
    """Refuse a protocol that says too little, or binds a party that takes no part."""
    if document.valid_from >= document.valid_until:
        raise ValidityOutOfOrder
    parties = set(document.parties)
    if len(parties) != len(document.parties) or not parties <= sector_of.keys():
        raise PartyNotAdmitted
    sectors = {sector_of[party] for party in parties}
    if not _is_complete(document.matrix, ROWS | PACKET_ROWS, sectors, COLUMNS):
        raise MatrixIncomplete
    for column, widest in FIREWALL.items():
        if any(allowed_to(row, column, document.matrix) not in rights for row, rights in widest.items()):
            raise FirewallOpen
    if not _is_complete(document.timers, set(TIMERS), set(URGENCIES)):
        raise TimersIncomplete
    for row in document.pulls:
        check_pull_row(row, document)


def check_among_probes(protocol: ProtocolCurrent, agencies: Iterable[AgencyCurrent]) -> None:
    """Refuse a protocol on which nobody decided, but one among probes that lets nothing be pulled."""
    document = protocol.document
    probes = {one.agency: one.sector for one in agencies if one.probe}
    if document.pulls or not probes.keys() >= set(document.parties):
        raise ProbesAlone
    check_protocol(document, probes)


def check_pull_row(row: PullRow, document: ProtocolDocument) -> None:
    """Refuse a row that says what nobody knows, or lets out what the matrix hides."""
    known = FIELD_ROWS[row.group]
    if not (
        row.recipient in COLUMNS - {STATISTICS}
        and row.basis in BASES
        and known.keys() >= set(row.fields)
        and set(row.purposes) <= set(PURPOSES)
    ):
        raise PullRowUnknown
    needed = {known[field].only_with for field in row.fields} - {None}
    if not set(row.fields) <= visible(row.recipient, row.group, row.basis, document) or needed - {
        *row.fields
    }:
        raise PullRowForbidden


def check_agency(agency: AgencyCurrent) -> None:
    """Refuse an agency that no service could speak for, or whose keys are not its own."""
    if agency.sector not in SECTORS:
        raise UnknownSector
    _check_key(agency.signing_key, "ed25519")
    _check_key(agency.encryption_key, "x25519")


def check_takes_part(agency: AgencyCurrent, register: GovernanceRegister) -> None:
    """Refuse an agency that the partners have not admitted in this sector; a probe is no partner's."""
    found = register.get("partner", agency.agency)
    if agency.probe and found:
        raise IdTaken
    if agency.probe:
        return
    if found is None or found.state != "admitted" or found.content.sector != agency.sector:
        raise AgencyNoPartner


def check_service(service: ServiceCurrent) -> None:
    """Refuse a service that this installation has not, or whose keys are not its own."""
    if service.service not in SECTORS:
        raise UnknownSector
    _check_key(service.signing_key, "ed25519")
    _check_key(service.vault_key, "ed25519")


def check_signed(content: GovernanceBody, last: Publication | None, keys: GovernanceKeys) -> None:
    """Refuse what two of the three holders have not signed, unless it suspends and changes nothing else."""
    if is_suspension(content, last.content if last else None):
        return
    try:
        keys.check(content)
    except SignatureFault as fault:
        raise signature_refusal(fault) from None


def signature_refusal(fault: SignatureFault) -> type[Refused]:
    """The refusal that says what is wrong with a document's signatures."""
    return _BY_REASON[fault.reason]


def keys_of(holder: AgencyCurrent | ServiceCurrent) -> set[str]:
    """The holder's keys without their suites: the same bytes in two suites are one key."""
    second = holder.encryption_key if isinstance(holder, AgencyCurrent) else holder.vault_key
    return {key.partition(":")[2] for key in (holder.signing_key, second)}


def is_new(publication: Publication, last: Publication | None) -> bool:
    """Whether this is the next version; the last one again is not, and anything else is refused."""
    if last and last.kind != publication.kind:
        raise IdTaken
    if last and (last.version, last.hash) == (publication.version, publication.hash):
        return False
    if publication.version != (last.version if last else 0) + 1:
        raise VersionNotNext
    match last and last.content, publication.content:
        case AgencyCurrent(sector=old), AgencyCurrent(sector=new) if old != new:
            raise SectorFixed
    return True


def _is_complete(
    table: Mapping[Any, Mapping[Any, Any]],
    rows: AbstractSet[str],
    columns: AbstractSet[str],
    others: AbstractSet[str] = frozenset(),
) -> bool:
    """Whether the table has just these rows, and each row these columns and none but the others besides."""
    return table.keys() == rows and all(
        columns <= cells.keys() <= columns | others for cells in table.values()
    )


def _check_key(key: str, suite: str) -> None:
    try:
        public_bytes(key, suite)
    except KeyFault as fault:
        raise _BY_REASON[fault.code] from None
