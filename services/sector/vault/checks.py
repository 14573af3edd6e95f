"""What a release rests on besides its permit, each check with its own code; all of it pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.events.access import Access
from schemas.events.break_glass import BadApproval, BreakGlassApproval, check_approval
from schemas.events.consent import Closure, ConsentVersion
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.governance_keys import GovernanceKeys, SignatureFault
from schemas.events.packet import GROUP_SCHEMA
from schemas.events.policy import PullDecision, PullFacts, PullTable, compile_pulls, decide
from schemas.trail.bytes import TrailFault, commitment, json_object, leaf
from schemas.trail.notes import Checkpoint
from schemas.trail.tree import leaf_hash, verify_inclusion
from schemas.wire.hpke import CannotOpen
from schemas.wire.key_records import BadKeyRecord, KeyRecord, check_key_record
from schemas.wire.packets import decrypt_group, parsed_group
from schemas.wire.public_keys import KeyFault, public_bytes
from schemas.wire.signed import is_signed
from services.sector.vault.faults import VaultRefusal
from services.sector.vault.requests import ClosureEntry, ConsentGround, DangerGround, OpenRequest, StoredGroup
from services.sector.vault.state import Ledger

CLOCKS_APART_MAX: Final = timedelta(seconds=5)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Agreement:
    """A protocol that governance signed, and the table that its rows make."""

    current: ProtocolCurrent
    table: PullTable


def check_time(asked_at: datetime, now: datetime) -> None:
    """The service's clock and the vault's say the same, so neither lets an ended consent live on."""
    if abs(now - asked_at) > CLOCKS_APART_MAX:
        raise VaultRefusal("request_late")


def check_detail(request: OpenRequest, record: KeyRecord, agreement: Agreement) -> None:
    """What is to be released is what the entry in the trail names, part by part."""
    access = request.request.access
    rows = request.groups
    recipient, protocol = access.recipient, access.protocol
    if (
        access.act != ("break_glass" if access.basis == "break_glass" else "disclosure")
        or access.groups != {row.wrap.group: row.wrap.version for row in rows}
        or len(access.groups) != len(rows)
        or {row.packet for row in rows} != {access.packet}
        or {row.wrap.keyset for row in rows} != {request.subject.case.keyset}
        or recipient is None
        or (recipient.agency, recipient.key) != (record.holder, record.key)
        or access.agency != recipient.agency
        or access.referral is None
        or protocol is None
        or (protocol.id, protocol.hash.hex()) != (agreement.current.document.id, agreement.current.hash)
        or (access.basis == "consent") != (request.consent is not None)
        or (access.basis == "break_glass") != (request.danger is not None)
    ):
        raise VaultRefusal("request_differs")


def read_admission(text: bytes, keys: GovernanceKeys) -> AgencyCurrent:
    """The recipient's admission, signed by governance."""
    return _signed_by_governance(AgencyCurrent, text, keys, "admission_unsigned")


def read_service(text: bytes, sector: str, keys: GovernanceKeys) -> ServiceCurrent:
    """The keys of a sector's service, signed by governance."""
    service = _signed_by_governance(ServiceCurrent, text, keys, "service_unsigned")
    if service.service != sector or service.status != "active":
        raise VaultRefusal("service_unsigned")
    return service


def read_protocol(text: bytes, keys: GovernanceKeys) -> Agreement:
    """A protocol signed by governance, and its table."""
    current = _signed_by_governance(ProtocolCurrent, text, keys, "protocol_unsigned")
    return Agreement(current, compile_pulls(current.document))


def read_record(text: bytes) -> KeyRecord:
    """A key record, not yet checked."""
    try:
        return KeyRecord.model_validate_json(text)
    except ValidationError:
        raise VaultRefusal("key_record_unsigned") from None


def check_recipient(record: KeyRecord, admission: AgencyCurrent, at: datetime) -> bytes:
    """The key to seal to: its record is signed by the key that the admission names, and valid now."""
    try:
        return check_key_record(record, admission, at)
    except BadKeyRecord as bad:
        raise VaultRefusal(bad.code) from None


def check_basis(
    request: OpenRequest, service: ServiceCurrent, keys: GovernanceKeys, at: datetime
) -> frozenset[str]:
    """The ground of the release holds; returns the single fields that her consent names for the recipient."""
    access = request.request.access
    if access.basis == "consent" and request.consent is not None:
        consent = read_consent(request.consent, service)
        check_scope(consent, request)
        check_expiry(consent, at)
        return frozenset(consent.scope.fields.get(str(access.agency), ()))
    if access.basis == "own_case":
        check_own_case(request.groups, access)
    elif access.basis == "break_glass" and request.danger is not None:
        check_danger(request.danger, request, keys, at)
    else:
        raise VaultRefusal("basis_unknown")
    return frozenset()


def check_danger(ground: DangerGround, request: OpenRequest, keys: GovernanceKeys, at: datetime) -> None:
    """Somebody of another active agency agreed to just this, within its four hours."""
    approver = read_admission(ground.approver, keys)
    service = read_service(ground.service, approver.sector, keys)
    access = request.request.access
    try:
        approval = BreakGlassApproval.model_validate_json(ground.approval)
        if approval.approver != approver.agency or approver.status != "active":
            raise BadApproval("approval_differs")
        check_approval(
            approval,
            public_bytes(service.signing_key),
            referral=str(access.referral),
            requester=str(access.agency),
            groups=[row.wrap.group for row in request.groups],
            at=at,
        )
    except BadApproval as bad:
        raise VaultRefusal(bad.code) from None
    except (ValidationError, KeyFault):
        raise VaultRefusal("approval_unsigned") from None


def check_own_case(rows: Sequence[StoredGroup], access: Access) -> None:
    """Whoever asks is the agency that recorded the packet; the ciphertext is bound to its name."""
    if {row.agency for row in rows} != {access.agency}:
        raise VaultRefusal("not_own_case")


def read_consent(ground: ConsentGround, service: ServiceCurrent) -> ConsentVersion:
    """The consent version that this sector's service signed when it was recorded."""
    try:
        consent = ConsentVersion.model_validate_json(ground.document)
        check_signed(consent.signed_bytes(), ground.signature, service)
    except ValidationError:
        raise VaultRefusal("consent_unsigned") from None
    return consent


def check_signed(message: bytes, signature: bytes, service: ServiceCurrent) -> None:
    """The service's signing key, as governance knows it, signed this."""
    try:
        holds = is_signed(message, signature, public_bytes(service.signing_key))
    except KeyFault:
        holds = False
    if not holds:
        raise VaultRefusal("consent_unsigned")


def check_scope(consent: ConsentVersion, request: OpenRequest) -> None:
    """It is hers for this case, and names recipient, groups and purpose."""
    access = request.request.access
    if (
        access.consent is None
        or (consent.id, consent.version) != (access.consent.id, access.consent.version)
        or consent.keyset != request.subject.case.keyset
        or {row.agency for row in request.groups} != {consent.agency}
        or access.agency not in consent.scope.recipients
        or access.purpose not in consent.scope.purposes
        or not {row.wrap.group for row in request.groups} <= set(consent.scope.groups)
    ):
        raise VaultRefusal("consent_does_not_cover")


def check_expiry(consent: ConsentVersion, at: datetime) -> None:
    """Her consent has not ended."""
    if at >= consent.scope.expires_at:
        raise VaultRefusal("consent_expired")


def check_keyset(keyset: str, ledger: Ledger) -> None:
    """The case was not erased."""
    if keyset in ledger:
        raise VaultRefusal("keyset_closed")


def check_consent_open(access: Access, ledger: Ledger) -> None:
    """This version of her consent was not taken back or replaced."""
    if access.consent is not None and access.consent.ledger_id in ledger:
        raise VaultRefusal("consent_closed")


def check_live(agreement: Agreement, owner: str, access: Access, at: datetime) -> None:
    """The protocol is in force now, and joins the agency that recorded the packet with the recipient."""
    document = agreement.current.document
    if not document.is_live(at) or not document.joins(owner, str(access.agency)):
        raise VaultRefusal("protocol_not_live")


def check_policy(facts: PullFacts, agreement: Agreement) -> PullDecision:
    """The protocol's table lets the recipient have each group; the same code decided in the service."""
    decision = decide(facts, agreement.table)
    if not decision.allowed:
        raise VaultRefusal("policy_denies")
    return decision


def read_closure(entry: ClosureEntry, audience: str, checkpoint: Checkpoint) -> Closure:
    """The ledger row that an entry of this sector's own in the trail tells of, under a signed head."""
    opening, proof = entry.opening, entry.proof
    committed = leaf_hash(leaf(opening.tag, commitment(opening.salt, opening.detail)))
    is_there = verify_inclusion(committed, proof.index, checkpoint.size, proof.path, checkpoint.root)
    try:
        words = json_object(opening.detail)
        if not is_there or (words.get("act"), words.get("service")) != ("closure", audience):
            raise VaultRefusal("not_a_closure")
        return Closure.model_validate(words.get("closure"))
    except (TrailFault, ValidationError):
        raise VaultRefusal("not_a_closure") from None


def open_group(row: StoredGroup, sector: str, data_key: bytes) -> Mapping[str, Any]:
    """The content of a group, as its place, commitment and data key let it open."""
    if row.schema_name != GROUP_SCHEMA.format(group=row.wrap.group):
        raise VaultRefusal("schema_unknown")
    place = row.wrap.packet_place(sector, row.packet, row.agency, row.schema_name)
    try:
        return parsed_group(decrypt_group(place, data_key, row.ct, row.kc))
    except CannotOpen:
        raise VaultRefusal("cannot_open") from None


def _signed_by_governance(kind: type[M], text: bytes, keys: GovernanceKeys, code: str) -> M:
    try:
        document = kind.model_validate_json(text)
        keys.check(document)
    except (ValidationError, SignatureFault):
        raise VaultRefusal(code) from None
    return document
