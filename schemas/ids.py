"""Every kind of id in one table: what it looks like, and who makes it.

Random ids have 128 random bits and are never ordered by time, so that nobody learns from an id when a
survivor came or how many came before her.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import StringConstraints

RANDOM_BYTES: Final = 16
_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, lower case, without padding
_PAIRS: Final = [first + second for first in _BASE32 for second in _BASE32]
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class IdKind:
    """What ids of one kind look like; what is not random, people or another system choose."""

    pattern: str
    prefix: str = ""
    is_random: bool = False


def _random(prefix: str) -> IdKind:
    return IdKind(f"^{prefix}[a-z2-7]{{26}}$", prefix, is_random=True)


def _named(prefix: str) -> IdKind:
    return IdKind(f"^{prefix}[a-z0-9][a-z0-9-]{{0,30}}$", prefix)


_CHOSEN: Final = IdKind("^[a-z0-9][a-z0-9-]{0,30}$")
_HSDS: Final = IdKind(f"^{_UUID}$")

KINDS: Final[Mapping[str, IdKind]] = {
    "referral": _random("ref_"),  # the owner's sector service, at the offer
    "event": _random("evt_"),  # the service that writes the event
    "case": _random("cas_"),  # the owner's sector service; never leaves it
    "consent": _random("cns_"),  # the owner's sector service, when consent is recorded
    "dead_letter": _random("dl_"),  # the reader that could not use the event
    "operator_act": _random("oac_"),  # the service that an operator had do something
    "plan": _random("plan_"),  # operations, for an act that a person is to confirm
    "unmet": _random("unm_"),  # the sector service in which a search of the directory found no help
    "subject": _random("sub_"),  # the owner's sector service: the case's alias in the trail
    "packet": _random("pkt_"),  # the owner's sector service, with the case
    "keyset": _random("ks_"),  # the same: all keys of one case, which erasure names
    "data_key": _random("k_"),  # the same, for each version of a field group
    "release": _random("rel_"),  # the owner's vault
    "reader_key": IdKind("^rk_[a-z2-7]{26}$", "rk_"),  # derived from suite and public key
    "request": IdKind(f"^urn:uuid:{_UUID}$", "urn:uuid:", is_random=True),  # the service that answers it
    "agency": _CHOSEN,  # governance, at admission
    "desk": _CHOSEN,  # the agency, when it registers a duty desk
    "protocol": _CHOSEN,  # governance, at publication
    "protocol_version": IdKind(r"^[a-z0-9][a-z0-9-]{0,30}\.[1-9][0-9]{0,5}$"),  # the same: id and version
    "committee": _named("cmt_"),  # whoever proposes it
    "mandate": _named("mdt_"),  # whoever proposes it
    "meeting": _named("mtg_"),  # the secretariat that calls it
    "dialogue": _named("dlg_"),  # its convenor
    "recommendation": _named("rec_"),  # whoever proposes it; governance, for a row of a file without one
    "scorecard": _named("scd_"),  # the reference group's partner
    "lesson": _named("lsn_"),  # whoever proposes it
    "history": _named("his_"),  # whoever hands in a file of past recommendations
    "joint_release": _named("rls_"),  # the seat that asks for it
    "decision": _named("dec_"),  # the seat that tables it; governance, where it is routed up
    "service_name": IdKind("^[a-z][a-z_]{1,29}$"),  # this project: a name of `schemas/topics.py`
    "receipt": IdKind("^rcp_[a-z_]{1,30}$", "rcp_"),  # `rcp_` and a service's name: who confirms
    "governance_key": IdKind("^gk_[a-z2-7]{16}$", "gk_"),  # whoever makes the key: derived from it
    "organization": _HSDS,  # the publisher of the directory entry
    "service": _HSDS,  # the publisher of the directory entry
}


class NotRandom(ValueError):
    """This kind of id is chosen by people or by another system, never drawn."""


class WrongLength(ValueError):
    """A random id is made of exactly 16 bytes."""


def make(kind: str, random_bytes: bytes) -> str:
    """Write 16 random bytes as an id of this kind."""
    row = KINDS[kind]
    if not row.is_random:
        raise NotRandom(kind)
    if len(random_bytes) != RANDOM_BYTES:
        raise WrongLength(kind)
    if kind == "request":
        return row.prefix + str(uuid.UUID(bytes=random_bytes, version=4))  # 6 bits give way to the version
    return row.prefix + _letters(random_bytes)


def derive(kind: str, digest: bytes) -> str:
    """Write the first 16 bytes of a digest as an id of a kind that is derived from what it names."""
    return KINDS[kind].prefix + _letters(digest[:RANDOM_BYTES])


def _letters(raw: bytes) -> str:
    number = int.from_bytes(raw) << 2  # 26 letters of five bits hold 130
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


ReferralId = Annotated[str, StringConstraints(pattern=KINDS["referral"].pattern)]
EventId = Annotated[str, StringConstraints(pattern=KINDS["event"].pattern)]
CaseId = Annotated[str, StringConstraints(pattern=KINDS["case"].pattern)]
ConsentId = Annotated[str, StringConstraints(pattern=KINDS["consent"].pattern)]
AgencyId = Annotated[str, StringConstraints(pattern=KINDS["agency"].pattern)]
DeskCode = Annotated[str, StringConstraints(pattern=KINDS["desk"].pattern)]
OperatorActId = Annotated[str, StringConstraints(pattern=KINDS["operator_act"].pattern)]
PlanId = Annotated[str, StringConstraints(pattern=KINDS["plan"].pattern)]
UnmetNeedId = Annotated[str, StringConstraints(pattern=KINDS["unmet"].pattern)]
ServiceId = Annotated[str, StringConstraints(pattern=KINDS["service"].pattern)]
ProtocolId = Annotated[str, StringConstraints(pattern=KINDS["protocol"].pattern)]
ProtocolVersionId = Annotated[str, StringConstraints(pattern=KINDS["protocol_version"].pattern)]
CommitteeId = Annotated[str, StringConstraints(pattern=KINDS["committee"].pattern)]
MandateId = Annotated[str, StringConstraints(pattern=KINDS["mandate"].pattern)]
MeetingId = Annotated[str, StringConstraints(pattern=KINDS["meeting"].pattern)]
DecisionId = Annotated[str, StringConstraints(pattern=KINDS["decision"].pattern)]
DialogueId = Annotated[str, StringConstraints(pattern=KINDS["dialogue"].pattern)]
RecommendationId = Annotated[str, StringConstraints(pattern=KINDS["recommendation"].pattern)]
ScorecardId = Annotated[str, StringConstraints(pattern=KINDS["scorecard"].pattern)]
LessonId = Annotated[str, StringConstraints(pattern=KINDS["lesson"].pattern)]
JointReleaseId = Annotated[str, StringConstraints(pattern=KINDS["joint_release"].pattern)]
OrganizationId = Annotated[str, StringConstraints(pattern=KINDS["organization"].pattern)]
PacketId = Annotated[str, StringConstraints(pattern=KINDS["packet"].pattern)]
KeysetId = Annotated[str, StringConstraints(pattern=KINDS["keyset"].pattern)]
DataKeyId = Annotated[str, StringConstraints(pattern=KINDS["data_key"].pattern)]
ReleaseId = Annotated[str, StringConstraints(pattern=KINDS["release"].pattern)]
ReaderKeyId = Annotated[str, StringConstraints(pattern=KINDS["reader_key"].pattern)]
