"""The gate an offer must pass: codes, agencies, protocol, directory entry and consent, in this order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas.events.consent import PURPOSES, ConsentProof
from schemas.events.governance import ProtocolDocument
from schemas.events.referral import ACCESS_NEEDS, NEEDS, OfferReferral
from schemas.topics import INBOX
from services.referrals.domain.refusals import (
    AgencyInactive,
    ConsentDoesNotCover,
    EntryStale,
    NoLiveProtocol,
    UnknownCode,
)

_PURPOSES: Final = frozenset(PURPOSES)


@dataclass(frozen=True, slots=True)
class AdmittedAgency:
    """An admitted agency, as far as the arbiter needs to know it."""

    id: str
    sector: str
    organization: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class ListedService:
    """A service of the directory, as far as the gate needs to know it."""

    service: str
    organization: str
    desk: str
    is_active: bool
    confirmed_at: datetime


@dataclass(frozen=True, slots=True)
class InForce:
    """What the arbiter knows around one batch of steps."""

    agencies: Mapping[str, AdmittedAgency]
    agency_of: Mapping[str, AdmittedAgency]
    """By organisation: its admitted agency."""
    entries: Mapping[str, ListedService]
    protocols: Mapping[str, ProtocolDocument]
    """By hash: those in force now, and those under which the batch's referrals were offered."""
    current: tuple[str, ...] = ()
    """Hashes of all protocol versions that governance published, by protocol, the newest first."""


def by_organization(agencies: Iterable[AdmittedAgency]) -> dict[str, AdmittedAgency]:
    """Each organisation's admitted agency; where it has several, an active one, then the first by id."""
    from_last = sorted(agencies, key=lambda agency: agency.id, reverse=True)
    best_last = sorted(from_last, key=lambda agency: agency.is_active)
    return {agency.organization: agency for agency in best_last}


@dataclass(frozen=True, slots=True)
class Admission:
    """What the gate found: who receives the offer, at which desk, under which protocol."""

    receiver: AdmittedAgency
    desk: str
    protocol: str
    document: ProtocolDocument


def admit(offer: OfferReferral, in_force: InForce, *, at: datetime) -> Admission:
    """Let an offer through, or refuse it for the first thing that is wrong."""
    check_codes(offer)
    owner = active(in_force.agencies.get(offer.agency))
    entry = in_force.entries.get(offer.service)
    if entry is None:
        raise EntryStale
    receiver = active(in_force.agency_of.get(entry.organization))
    protocol = live_protocol(owner.id, receiver.id, in_force, at=at)
    document = in_force.protocols[protocol]
    check_fresh(entry, document, at=at)
    check_covers(offer.consent, receiver.id, at=at)
    return Admission(receiver, entry.desk, protocol, document)


def check_codes(offer: OfferReferral) -> None:
    """Every code of the offer is in its table."""
    known = NEEDS.issuperset(offer.needs) and ACCESS_NEEDS.issuperset(offer.access_needs)
    if not known or offer.consent.purpose not in _PURPOSES:
        raise UnknownCode


def active(agency: AdmittedAgency | None) -> AdmittedAgency:
    """The agency, if it is admitted, not suspended, and its sector can be told."""
    if agency is None or not agency.is_active or agency.sector not in INBOX:
        raise AgencyInactive
    return agency


def live_protocol(owner: str, receiver: str, in_force: InForce, *, at: datetime) -> str:
    """The hash of the first protocol in force that joins the two agencies."""
    for candidate in begun(in_force, at=at):
        document = in_force.protocols[candidate]
        if owner != receiver and document.is_live(at) and document.joins(owner, receiver):
            return candidate
    raise NoLiveProtocol


def begun(in_force: InForce, *, at: datetime) -> Iterable[str]:
    """Of each protocol the newest version that has begun: a later one that has not shuts no door yet."""
    newest: dict[str, str] = {}
    for candidate in in_force.current:
        document = in_force.protocols[candidate]
        if document.valid_from <= at:
            newest.setdefault(document.id, candidate)
    return newest.values()


def check_fresh(entry: ListedService, document: ProtocolDocument, *, at: datetime) -> None:
    """The entry is active, and somebody confirmed it recently enough for this protocol."""
    oldest = at - timedelta(days=document.entry_fresh_for_days)
    if not entry.is_active or entry.confirmed_at < oldest:
        raise EntryStale


def check_covers(consent: ConsentProof, receiver: str, *, at: datetime) -> None:
    """Her consent names this receiver and has not ended."""
    # Checked here: recipient and end. In `check_codes`: that the purpose is listed (no table says yet which
    # purposes a sector serves). In the contract: that groups are listed; with none, nothing can be pulled.
    # In the owner's sector, which alone holds her signed consent: that it names purpose and groups.
    if consent.recipient != receiver or consent.expires_at <= at:
        raise ConsentDoesNotCover
