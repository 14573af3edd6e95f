"""Every kind of id in one table: what it looks like, who makes it.

Random ids have 128 random bits and are never ordered by time, so that nobody learns from an id when a
survivor came or how many came before her. Public signatures:

    KINDS: Mapping[str, IdKind]                    referral event case consent dead_letter subject request
                                                 agency desk service protocol
    make(kind: str, random_bytes: bytes) -> str  16 bytes in, one id out; pure
    ReferralId EventId CaseId ConsentId AgencyId DeskCode ServiceId ProtocolId     pydantic types
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import StringConstraints

BITS: Final = 128
BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, lower case, without padding
HEX: Final = "0123456789abcdef"
SLUG: Final = "abcdefghijklmnopqrstuvwxyz0123456789-"

_RANDOM: Final = "[a-z2-7]{26}"
_PAIRS: Final = [first + second for first in BASE32 for second in BASE32]
_SLUG: Final = "^[a-z0-9][a-z0-9-]{0,30}$"
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class IdKind:
    """What ids of one kind look like; `bits` is 0 where people or another system choose it."""

    name: str
    prefix: str
    bits: int
    alphabet: str
    made_by: str
    pattern: str


class NotRandom(ValueError):
    """This kind of id is chosen by people or by another system, never drawn."""


class WrongLength(ValueError):
    """A random id is made of exactly 16 bytes."""


def _random(name: str, prefix: str, made_by: str) -> IdKind:
    return IdKind(name, prefix, BITS, BASE32, made_by, f"^{prefix}{_RANDOM}$")


def _chosen(name: str, made_by: str) -> IdKind:
    return IdKind(name, "", 0, SLUG, made_by, _SLUG)


KINDS: Final[Mapping[str, IdKind]] = {
    kind.name: kind
    for kind in (
        _random("referral", "ref_", "the owner's sector service, at the offer"),
        _random("event", "evt_", "the service that writes the event"),
        _random("case", "cas_", "the owner's sector service; never leaves it"),
        _random("consent", "cns_", "the owner's sector service, when consent is recorded"),
        _random("dead_letter", "dl_", "the reader that could not use the event"),
        _random("subject", "sub_", "the owner's sector service: the case's alias in the trail"),
        IdKind("request", "urn:uuid:", BITS, HEX, "the service that answers it", f"^urn:uuid:{_UUID}$"),
        _chosen("agency", "governance, at admission"),
        _chosen("desk", "the agency, when it registers a duty desk"),
        _chosen("protocol", "governance, at publication"),
        IdKind("organization", "", 0, HEX, "the publisher of the directory entry (HSDS)", f"^{_UUID}$"),
        IdKind("service", "", 0, HEX, "the publisher of the directory entry (HSDS)", f"^{_UUID}$"),
    )
}


def make(kind: str, random_bytes: bytes) -> str:
    """Write 16 random bytes as an id of this kind."""
    row = KINDS[kind]
    if not row.bits:
        raise NotRandom(kind)
    if len(random_bytes) * 8 != row.bits:
        raise WrongLength(kind)
    if row.alphabet == HEX:
        return row.prefix + str(uuid.UUID(bytes=random_bytes, version=4))  # 6 bits give way to the version
    number = int.from_bytes(random_bytes) << 2  # 26 letters of five bits hold 130
    return row.prefix + "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


ReferralId = Annotated[str, StringConstraints(pattern=KINDS["referral"].pattern)]
EventId = Annotated[str, StringConstraints(pattern=KINDS["event"].pattern)]
CaseId = Annotated[str, StringConstraints(pattern=KINDS["case"].pattern)]
ConsentId = Annotated[str, StringConstraints(pattern=KINDS["consent"].pattern)]
AgencyId = Annotated[str, StringConstraints(pattern=KINDS["agency"].pattern)]
DeskCode = Annotated[str, StringConstraints(pattern=KINDS["desk"].pattern)]
ServiceId = Annotated[str, StringConstraints(pattern=KINDS["service"].pattern)]
ProtocolId = Annotated[str, StringConstraints(pattern=KINDS["protocol"].pattern)]
OrganizationId = Annotated[str, StringConstraints(pattern=KINDS["organization"].pattern)]
