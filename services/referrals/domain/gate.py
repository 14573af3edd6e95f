"""The gate an offer must pass: codes, agencies, protocol, directory entry and consent, in this order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.events.consent import ConsentProof
from schemas.events.governance import ProtocolDocument
from schemas.events.referral import StepBase
from schemas.topics import INBOX
from schemas.wire.body import unlisted
from services.referrals.domain import refusals


@dataclass(frozen=True, slots=True)
class AdmittedAgency:
    """An admitted agency, as far as the arbiter needs to know it."""

    id: str
    sector: str
    organization: str
    is_active: bool
    is_probe: bool = False


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
    entries: Mapping[str, ListedService]
    protocols: Mapping[str, ProtocolDocument]
    """By hash: those in force now, and those under which the batch's referrals were offered."""
    current: tuple[str, ...] = ()
    """Hashes of all protocol versions that governance published, by protocol, the newest first."""


Admission = tuple[AdmittedAgency, ListedService, str]
"""The receiver of an offer, the service that it names, and the hash of the protocol that it rests on."""


def admit(owner: str, service: str, consent: ConsentProof, in_force: InForce, *, at: datetime) -> Admission:
    """Let an offer of one agency to a service through, or refuse it for the first thing that is wrong."""
    offering = active([in_force.agencies.get(owner)])
    entry = in_force.entries.get(service)
    if entry is None:
        raise refusals.EntryStale
    of_organization = (one for one in in_force.agencies.values() if one.organization == entry.organization)
    receiver = active(of_organization)
    protocol = live_protocol(offering.id, receiver.id, in_force, at=at)
    check_fresh(entry, in_force.protocols[protocol], at=at)
    check_covers(consent, receiver.id, at=at)
    return receiver, entry, protocol


def check_codes(step: StepBase) -> None:
    """Every code of the step is on its list."""
    if unlisted(step):
        raise refusals.UnknownCode


def active(agencies: Iterable[AdmittedAgency | None]) -> AdmittedAgency:
    """The first agency that is admitted, not suspended, and whose sector can be told."""
    for agency in agencies:
        if agency and agency.is_active and agency.sector in INBOX:
            return agency
    raise refusals.AgencyInactive


def live_protocol(owner: str, receiver: str, in_force: InForce, *, at: datetime) -> str:
    """The hash of the first protocol in force that joins the two agencies."""
    for candidate in newest_begun(in_force, at=at):
        document = in_force.protocols[candidate]
        if owner != receiver and document.is_live(at) and document.joins(owner, receiver):
            return candidate
    raise refusals.NoLiveProtocol


def newest_begun(in_force: InForce, *, at: datetime) -> Iterable[str]:
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
        raise refusals.EntryStale


def check_covers(consent: ConsentProof, receiver: str, *, at: datetime) -> None:
    """Her consent names this receiver and has not ended."""
    # Checked here: recipient and end. In `check_codes`: that the purpose is listed (no table says yet which
    # purposes a sector serves). In the contract: that groups are listed; with none, nothing can be pulled.
    # In the owner's sector, which alone holds her signed consent: that it names purpose and groups.
    if consent.recipient != receiver or consent.expires_at <= at:
        raise refusals.ConsentDoesNotCover
