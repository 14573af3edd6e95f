"""What may be published: which version follows which, and what a protocol must say before anyone acts on it.

`load_protocol` is the one door for a protocol document, whoever brings it; signatures will be checked there.
"""

import base64
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, ClassVar, Final, Literal, get_args

import rfc8785
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pydantic import ConfigDict

from schemas.events.governance import URGENCIES, AgencyCurrent, ProtocolDocument, Timer, document_hash
from schemas.events.minimisation import ROWS, STATISTICS
from schemas.topics import SECTORS
from services.runtime.errors import Refused

Kind = Literal["agency", "protocol"]
READERS: Final = frozenset({*SECTORS, STATISTICS})
"""Every column that a protocol's matrix must have: what is left out by mistake would be hidden in silence."""


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


class AgencyDocument(AgencyCurrent):
    """An agency as the operator writes it down; what nobody reads is refused, not dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Publication:
    """One version of an agency or a protocol, as it is kept and published."""

    kind: Kind
    id: str
    version: int
    hash: str
    content: AgencyCurrent | ProtocolDocument
    published_at: datetime


class IdTaken(Refused):
    """Agencies and protocols share the keys of one topic, so they share one space of ids."""

    code: ClassVar[str] = "id_taken"
    sentence: ClassVar[str] = "This id already belongs to something of another kind; choose another id."


class VersionNotNext(Refused):
    """Another version than the next one, or a known version with other content."""

    code: ClassVar[str] = "version_not_next"
    sentence: ClassVar[str] = "A version follows the last one by one, and a published version never changes."


class UnknownSector(Refused):
    """No service of this installation serves the agency's sector."""

    code: ClassVar[str] = "unknown_sector"
    sentence: ClassVar[str] = "This installation has no service for the agency's sector."
    status: ClassVar[int] = 422


class OtherId(Refused):
    """The address names another thing than the content."""

    code: ClassVar[str] = "other_id"
    sentence: ClassVar[str] = "The id in the address and the id in the content must be the same."
    status: ClassVar[int] = 422


class PartyNotAdmitted(Refused):
    """A protocol binds only agencies that governance knows."""

    code: ClassVar[str] = "party_not_admitted"
    sentence: ClassVar[str] = "Each party must be an agency that was admitted before, and be named once."
    status: ClassVar[int] = 422


class ValidityOutOfOrder(Refused):
    """A protocol that ends before it begins."""

    code: ClassVar[str] = "validity_out_of_order"
    sentence: ClassVar[str] = "The protocol must begin before it ends."
    status: ClassVar[int] = 422


class MatrixIncomplete(Refused):
    """A matrix with a cell too few or too many."""

    code: ClassVar[str] = "matrix_incomplete"
    sentence: ClassVar[str] = (
        "The matrix must say what may be seen for each row and reader, and for no other."
    )
    status: ClassVar[int] = 422


class TimersIncomplete(Refused):
    """A timer table with a cell too few."""

    code: ClassVar[str] = "timers_incomplete"
    sentence: ClassVar[str] = "Each timer must say how long it runs for each urgency."
    status: ClassVar[int] = 422


class ExampleKey(Refused):
    """A key that somebody copied from an example."""

    code: ClassVar[str] = "example_key"
    sentence: ClassVar[str] = "This key stands in a public example; make a fresh pair of your own."
    status: ClassVar[int] = 422


class WeakKey(Refused):
    """A key that protects nothing: zero, of low order, or one of several ways to write the same."""

    code: ClassVar[str] = "weak_key"
    sentence: ClassVar[str] = "This key protects nothing; make a fresh pair and send its public half."
    status: ClassVar[int] = 422


class KeyInUse(Refused):
    """A key that another agency answers with, or has answered with."""

    code: ClassVar[str] = "key_in_use"
    sentence: ClassVar[str] = "Another agency holds this key or held it; make a fresh pair of your own."


class SectorFixed(Refused):
    """A version that would take an agency, and its open referrals, into another sector."""

    code: ClassVar[str] = "sector_fixed"
    sentence: ClassVar[str] = (
        "An agency stays in its sector; suspend it, and admit it under a new id in the other one."
    )


class OrganizationInUse(Refused):
    """Offers find an agency by its organisation, so two that answer for one would take turns."""

    code: ClassVar[str] = "organization_in_use"
    sentence: ClassVar[str] = "Another active agency answers for this organisation; suspend that one first."


def load_protocol(content: bytes) -> tuple[ProtocolDocument, str]:
    """Read a protocol document and give its hash with it; raises pydantic's ValidationError, or Refused."""
    document = ProtocolDocument.model_validate_json(content)
    if document.valid_from >= document.valid_until:
        raise ValidityOutOfOrder
    if not _is_complete(document.matrix, ROWS.keys(), READERS):
        raise MatrixIncomplete
    if not _is_complete(document.timers, set(get_args(Timer)), set(URGENCIES)):
        raise TimersIncomplete
    return document, document_hash(document)


def _is_complete(
    table: Mapping[Any, Mapping[Any, Any]], rows: AbstractSet[str], columns: AbstractSet[str]
) -> bool:
    return table.keys() == rows and all(cells.keys() == columns for cells in table.values())


def check_parties(document: ProtocolDocument, admitted: Collection[str]) -> None:
    """Refuse a protocol with a party that was not admitted, or twice the same."""
    parties = set(document.parties)
    if len(parties) != len(document.parties) or not parties <= set(admitted):
        raise PartyNotAdmitted


def check_agency(agency: AgencyCurrent) -> None:
    """Refuse an agency that no service could speak for, or whose keys are not its own."""
    if agency.sector not in SECTORS:
        raise UnknownSector
    _check_key(agency.signing_key, signs=True)
    _check_key(agency.encryption_key, signs=False)


def _check_key(key: str, *, signs: bool) -> None:
    """Refuse a key of an example, of low order, or written otherwise than any library writes it."""
    if key in EXAMPLE_KEYS:
        raise ExampleKey
    content = base64.b64decode(key)
    number = int.from_bytes(content, "little")
    point = number % 2**255 if signs else number  # an Ed25519 key's last bit is the sign of x
    # One way to write each key, else the same key would pass for two agencies' own.
    if point >= _PRIME or base64.b64encode(content).decode() != key:
        raise WeakKey
    if signs:  # the same point as X25519 writes it (RFC 7748, section 4.1)
        point = (1 + point) * pow(1 - point, -1, _PRIME) % _PRIME if point != 1 else 0
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(point.to_bytes(32, "little")))
    except ValueError:
        raise WeakKey from None


def agency_hash(agency: AgencyCurrent) -> str:
    """SHA-256 over the agency's JCS form (RFC 8785), in hex."""
    return sha256(rfc8785.dumps(agency.model_dump(mode="json"))).hexdigest()


def is_new(publication: Publication, known: Publication | None) -> bool:
    """Whether this is the next version; the same again is not, and anything else is refused."""
    if known is None:
        return _first(publication)
    if known.kind != publication.kind:
        raise IdTaken
    if (publication.version, publication.hash) == (known.version, known.hash):
        return False
    if publication.version != known.version + 1:
        raise VersionNotNext
    match known.content, publication.content:
        case AgencyCurrent(sector=old), AgencyCurrent(sector=new) if old != new:
            raise SectorFixed
    return True


def _first(publication: Publication) -> bool:
    if publication.version != 1:
        raise VersionNotNext
    return True
