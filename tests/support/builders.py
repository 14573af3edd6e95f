"""Values for tests: each builder shows what matters and fills in the rest, with invented ids only."""

import base64
import hashlib
import itertools
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schemas.events.consent import ConsentProof
from schemas.events.directory import ServiceRegistered
from schemas.events.governance import (
    AgencyCurrent,
    ProtocolCurrent,
    ProtocolDocument,
    ServiceCurrent,
    document_hash,
)
from schemas.events.life_cycle import State
from schemas.events.referral import STEPS as STEP_BODIES
from schemas.events.referral import OfferFields, OfferReferral, StepBase
from schemas.ids import make
from schemas.topics import STEPS
from schemas.wire.body import Body, key_of
from schemas.wire.envelope import ReadEvent, dataschema_of, full_type
from schemas.wire.minimisation import Matrix
from schemas.wire.topic import Topic, source_of
from services.referrals.domain.gate import AdmittedAgency, InForce, ListedService
from services.referrals.domain.referral import Referral
from tests.support.clock import NOON
from tests.support.governance import signed

B = TypeVar("B", bound=Body)

OWNER: Final = "harbour-social"
RECEIVER: Final = "harbour-clinic"
STRANGER: Final = "hill-police"
SCHOOL: Final = "hill-school"
SECTOR_OF: Final = {OWNER: "social_services", RECEIVER: "health", STRANGER: "police", SCHOOL: "education"}
SERVICE: Final = "11111111-0000-4000-8000-000000000001"
DEFAULT_PROTOCOL: Final[Mapping[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "deploy/local/protocol.json").read_text("utf-8")
)
MATRIX: Final[Matrix] = DEFAULT_PROTOCOL["matrix"]
SECONDS: Final[Mapping[str, Mapping[str, int]]] = DEFAULT_PROTOCOL["timers"]

_counter = itertools.count(1)


def an_id(kind: str, name: object = None) -> str:
    """The id of that kind and name, always the same; without a name a new one."""
    seed = f"{kind}/{next(_counter) if name is None else name}"
    return make(kind, hashlib.sha256(seed.encode()).digest()[:16])


REFERRAL: Final = an_id("referral", "the one")
SUCCESSOR: Final = an_id("referral", "successor")


def organization_of(agency: str) -> str:
    """The directory's organisation of an agency of these tests."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{agency}.example"))


def a_protocol(**changes: Any) -> ProtocolDocument:
    """A protocol that joins the four agencies and is in force."""
    content: dict[str, Any] = {
        "id": "harbour-2026",
        "version": 1,
        "jurisdiction": "harbour-district",
        "parties": tuple(SECTOR_OF),
        "valid_from": NOON - timedelta(days=100),
        "valid_until": NOON + timedelta(days=100),
        "entry_fresh_for_days": 180,
        "matrix": MATRIX,
        "pulls": DEFAULT_PROTOCOL["pulls"],
        "timers": SECONDS,
    }
    return ProtocolDocument.model_validate(content | changes)


def a_protocol_current(**changes: Any) -> ProtocolCurrent:
    """The event by which governance publishes `a_protocol`, signed by two."""
    document = a_protocol(**changes)
    return signed(ProtocolCurrent(document=document, hash=document_hash(document)))


def an_agency(agency: str = RECEIVER, **changes: Any) -> AgencyCurrent:
    """An admitted, active agency, signed by two."""
    seed = hashlib.sha256(agency.encode()).digest()
    content: dict[str, Any] = {
        "agency": agency,
        "version": 1,
        "sector": SECTOR_OF.get(agency, "health"),
        "organization": organization_of(agency),
        "status": "active",
        "signing_key": _public("ed25519", agency_key(agency)),
        "encryption_key": _public("x25519", X25519PrivateKey.from_private_bytes(seed)),
    }
    return signed(AgencyCurrent.model_validate(content | changes))


def agency_key(agency: str) -> Ed25519PrivateKey:
    """The signing key in the admission of `an_agency`."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(agency.encode()).digest())


def a_service(service: str = "health", **changes: Any) -> ServiceCurrent:
    """A sector service with keys of its own, as governance publishes it."""
    content: dict[str, Any] = {"service": service, "version": 1, "status": "active"}
    for name in ("signing_key", "vault_key"):
        seed = hashlib.sha256(f"{service} {name}".encode()).digest()
        content[name] = _public("ed25519", Ed25519PrivateKey.from_private_bytes(seed))
    return signed(ServiceCurrent.model_validate(content | changes))


def _public(suite: str, key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    return f"{suite}:{base64.b64encode(key.public_key().public_bytes_raw()).decode()}"


def an_entry(service: str = SERVICE, organization: str | None = None, **changes: Any) -> ServiceRegistered:
    """A directory entry of the receiver, confirmed yesterday."""
    content: dict[str, Any] = {
        "service": service,
        "organization": organization or organization_of(RECEIVER),
        "title": "Day clinic",
        "organization_title": "Harbour Clinic",
        "status": "active",
        "needs": ("medical_care",),
        "desk": "front-desk",
        "confirmed_at": NOON - timedelta(days=1),
    }
    return ServiceRegistered.model_validate(content | changes)


def a_consent(**changes: Any) -> ConsentProof:
    """Her consent to the receiver, with feedback."""
    content: dict[str, Any] = {
        "version": 1,
        "recipient": RECEIVER,
        "groups": ("contact", "clinical"),
        "purpose": "care",
        "expires_at": NOON + timedelta(days=30),
        "feedback": True,
        "form_hash": "0" * 64,
    }
    return ConsentProof.model_validate(content | changes)


def an_offer(referral: str = REFERRAL, **changes: Any) -> OfferReferral:
    """The owner's offer to the receiver's service; `consent` may be given as changes to `a_consent`."""
    consent = changes.pop("consent", {})
    content: dict[str, Any] = {
        "referral": referral,
        "agency": OWNER,
        "duty": "intake",
        "service": SERVICE,
        "needs": ("medical_care", "psychosocial_support"),
        "urgency": "critical",
        "age_band": "young_adult",
        "minor": False,
        "access_needs": ("interpreter",),
        "immediate_danger": True,
        "weapons": True,
        "area": "HB01",
        "consent": consent if isinstance(consent, ConsentProof) else a_consent(**consent),
    }
    return OfferReferral.model_validate(content | changes)


_CONTENT: Final[dict[str, dict[str, Any]]] = {
    "accept": {"appointment": "this_week"},
    "decline": {"reason": "no_capacity"},
    "provide": {"outcome": "completed"},
    "not_provide": {"reason": "did_not_come"},
    "unable_to_reach": {"attempts": 3, "rules_kept": True},
    "close_unmet": {"unmet": "no_capacity"},
    "narrow_consent": {"groups": ("clinical",), "version": 2},
    "report_break_glass": {"groups": ("contact",), "reason": "threat_to_life", "approver": "hill-police"},
    "confirm_narrowed": {"version": 2, "method": "deleted"},
    "confirm_erased": {"method": "deleted"},
    "give_feedback": {"outcome": "helped"},
    "close": {"reason": "needs_met"},
    "cancel": {"reason": "no_longer_needed"},
    "confirm_sealed": {"method": "key_destroyed"},
}


def a_step(verb: str, agency: str = RECEIVER, referral: str = REFERRAL, **changes: Any) -> StepBase:
    """A step other than an offer, with known codes."""
    content: dict[str, Any] = {"referral": referral, "agency": agency, "duty": "front-desk"}
    content |= _CONTENT.get(verb, {})
    if verb == "redirect":
        offered = an_offer()
        content |= {name: getattr(offered, name) for name in OfferFields.model_fields}
        content |= {"successor": SUCCESSOR, "consent": a_consent()}
    if verb == "reoffer":
        content |= {"reason": "capacity_again", "consent": a_consent()}
    return STEP_BODIES[f"referral.{verb}"].model_validate(content | changes)


def an_event(
    topic: Topic, body: B, sequence: int = 1, *, at: datetime = NOON, name: str = "", digest: bytes = b""
) -> ReadEvent[B]:
    """An event as a handler gets it."""
    return ReadEvent(
        id=name or an_id("event"), source=source_of("test-local", topic.writer),
        topic=topic, key=key_of(body), caused_by=None, sequence=sequence, at=at,
        type=full_type(body.type), dataschema=dataschema_of(type(body)), body=body, digest=digest,
    )  # fmt: skip


def asked(step: StepBase, *, sector: str | None = None, at: datetime = NOON) -> ReadEvent[StepBase]:
    """A step as the arbiter receives it, from the sector of the agency that asks."""
    service = sector or SECTOR_OF.get(step.agency, "police")
    return an_event(STEPS[service], step, at=at)


def a_referral(state: State = State.OFFERED, **changes: Any) -> Referral:
    """A referral between owner and receiver, offered at noon."""
    protocol = a_protocol()
    content: dict[str, Any] = {
        "id": REFERRAL,
        "owner": OWNER,
        "owner_desk": "intake",
        "receiver": RECEIVER,
        "receiver_desk": "front-desk",
        "service": SERVICE,
        "state": State.OFFERED,
        "urgency": "critical",
        "feedback_allowed": True,
        "protocol": document_hash(protocol),
        "groups": ("contact", "clinical"),
        "seal_by_at": NOON + timedelta(days=1) if state is State.WITHDRAWN else None,
    }
    offered = Referral(**content).with_clocks(protocol, at=NOON)
    moved = replace(offered, state=state).with_clocks(protocol, at=NOON)
    return replace(moved, **changes)


def known_agency(agency: AgencyCurrent) -> AdmittedAgency:
    """An agency as the arbiter keeps it."""
    return AdmittedAgency(agency.agency, agency.sector, agency.organization, agency.status == "active")


def known_entry(entry: ServiceRegistered) -> ListedService:
    """A directory entry as the gate sees it."""
    return ListedService(
        entry.service, entry.organization, entry.desk, entry.status == "active", entry.confirmed_at
    )


def in_force(
    *,
    agencies: Iterable[AgencyCurrent] | None = None,
    entries: Iterable[ServiceRegistered] | None = None,
    protocols: Iterable[ProtocolDocument] | None = None,
) -> InForce:
    """What the arbiter knows: by default four active agencies, one fresh entry, one live protocol."""
    admitted = [an_agency(agency) for agency in SECTOR_OF] if agencies is None else agencies
    listed = [an_entry()] if entries is None else entries
    known = [known_agency(agency) for agency in admitted]
    documents = {document_hash(one): one for one in ([a_protocol()] if protocols is None else protocols)}
    return InForce(
        agencies={agency.id: agency for agency in known},
        entries={entry.service: known_entry(entry) for entry in listed},
        protocols=documents,
        current=tuple(documents),
    )
