"""A sector's vault with all that a release rests on: keys, documents, a packet, and a small trail."""

import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.events.access import Access, Actor, Opening, PermitAnswer, PermitRequest, Receipt
from schemas.events.break_glass import BreakGlassApproval
from schemas.events.consent import ConsentRef, ConsentScope, ConsentVersion
from schemas.events.governance import ProtocolCurrent, ProtocolDocument, document_hash
from schemas.events.packet import GROUP_SCHEMA
from schemas.ids import make
from schemas.trail.bytes import (
    canonical,
    commitment,
    decoded,
    leaf,
    request_digest,
    stamped,
    subject_key,
    tag,
    trail_words,
)
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, signed_note
from schemas.trail.permits import PermitBody, Trust, signed_permit
from schemas.trail.tree import Tree, leaf_hash
from schemas.wire.hpke import new_pair
from schemas.wire.key_records import KeyRecord, sign_key_record
from schemas.wire.packets import (
    CASE_KEY,
    IntakeKey,
    Release,
    encrypt_group,
    open_release,
    wrap_for_intake,
)
from schemas.wire.public_keys import written
from schemas.wire.signed import sign
from services.sector.vault.keys import KeyFiles
from services.sector.vault.operations import Vault, VaultTrust
from services.sector.vault.requests import (
    ConsentGround,
    DangerGround,
    DataKeyWrap,
    OpenRequest,
    StoredGroup,
    SubjectPlace,
)
from tests.support.builders import a_service, agency_key, an_agency
from tests.support.governance import HOLDERS, KEYS, signed

SECTOR: Final = "social_services"
OWNER: Final = "agency-a"
RECIPIENT: Final = "agency-b"
AUDIENCE: Final = f"urn:concert:test-unit:{SECTOR}"
ORIGIN: Final = "audit.example/juris-a"
NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
LEAVES_BEFORE: Final = 20
SIGNED: Final = 16
CONTENTS: Final[dict[str, dict[str, Any]]] = {
    "contact": {
        "safe_contact": {
            "channels": ["call"],
            "hours": [{"days": ["monday"], "from_time": "09:00", "until_time": "17:00"}],
            "zone": "Africa/Nairobi",
        },
        "name": "Canary Name",
        "phone": "+000 000 000",
    },
    "clinical": {"injuries": "canary injuries", "pep": "given"},
}


def ed25519(name: str) -> Ed25519PrivateKey:
    """The same key for the same name."""
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


def public(private: Ed25519PrivateKey) -> bytes:
    """Its public half."""
    return private.public_key().public_bytes_raw()


SERVICE_KEY: Final = ed25519("service")
VAULT_KEY: Final = ed25519("vault")
APPROVER_KEY: Final = ed25519("police service")
LOG: Final = Signer(ORIGIN, ed25519("log"))
PERMITS: Final = Signer(f"{ORIGIN}/permit", ed25519("permits"))
STRANGER: Final = Signer(f"{ORIGIN}/permit", ed25519("stranger"))
OWN_SERVICE: Final = a_service(SECTOR, signing_key=written(public(SERVICE_KEY)))
PRIVATE, PUBLIC = new_pair(2)
TRUST: Final = VaultTrust(
    sector=SECTOR,
    audience=AUDIENCE,
    trail=Trust(ORIGIN, (PERMITS.public,), LOG.public),
    governance=KEYS,
)
CASE_SECRET: Final = b"c" * 32
KEYSET: Final = make("keyset", b"s" * 16)
PACKET: Final = make("packet", b"p" * 16)
REFERRAL: Final = make("referral", b"f" * 16)
CONSENT: Final = make("consent", b"n" * 16)
SUBJECT_NUMBER: Final = 3


@lru_cache(64)
def governed_text(text: str, holders: int) -> bytes:
    """The default protocol is long, and to sign it takes a while."""
    return governed(ProtocolCurrent.model_validate_json(text), holders)


def governed(body: Any, holders: int = 2) -> bytes:
    """A document of governance as its text, signed by so many."""
    return bytes(signed(body, *HOLDERS[:holders]).model_dump_json().encode())


def a_protocol(**changes: Any) -> ProtocolCurrent:
    """The default protocol, not yet signed."""
    text = (Path(__file__).parents[2] / "deploy/local/protocol.json").read_text("utf-8")
    document = ProtocolDocument.model_validate(json.loads(text) | changes)
    return ProtocolCurrent(document=document, hash=document_hash(document))


def a_record(**changes: Any) -> KeyRecord:
    """The recipient's key record."""
    words: dict[str, Any] = {
        "holder": RECIPIENT,
        "suite": 2,
        "public": PUBLIC,
        "not_before": NOW - timedelta(days=1),
        "not_after": NOW + timedelta(days=60),
    }
    words |= changes
    return sign_key_record(words.pop("signed_by", agency_key(words["holder"])), **words)


def a_consent(**changes: Any) -> ConsentVersion:
    """Her consent to the recipient, for contact and clinical; scope's fields among the changes."""
    scope: dict[str, Any] = {
        "recipients": (RECIPIENT,),
        "groups": ("contact", "clinical"),
        "purposes": ("care", "protection", "shelter"),
        "expires_at": NOW + timedelta(days=30),
    }
    scope |= {name: changes.pop(name) for name in list(changes) if name in ConsentScope.model_fields}
    words: dict[str, Any] = {
        "id": CONSENT,
        "version": 1,
        "keyset": KEYSET,
        "scope": ConsentScope(**scope),
        "form_hash": "0" * 64,
        "language": "sw",
        "agency": OWNER,
        "recorded_at": NOW - timedelta(days=1),
    }
    return ConsentVersion(**(words | changes))


def signed_consent(consent: ConsentVersion, key: Ed25519PrivateKey = SERVICE_KEY) -> ConsentGround:
    """The consent as its sector service signed it."""
    return ConsentGround(
        document=consent.model_dump_json().encode(), signature=key.sign(consent.signed_bytes())
    )


def a_danger(**changes: Any) -> DangerGround:
    """An approval by the police desk for the recipient, with who that is; `signed_by` among the changes."""
    signed_by = changes.pop("signed_by", APPROVER_KEY)
    words: dict[str, Any] = {
        "referral": REFERRAL,
        "requester": RECIPIENT,
        "approver": "agency-p",
        "approved_by": "st-9",
        "groups": ("contact", "protection"),
        "reason": "threat_to_life",
        "approved_at": NOW - timedelta(minutes=5),
    }
    approval = sign(BreakGlassApproval.model_validate(words | changes), signed_by)
    return DangerGround(
        approval=approval.model_dump_json().encode(),
        approver=governed(an_agency("agency-p", sector="police")),
        service=governed(a_service("police", signing_key=written(public(APPROVER_KEY)))),
    )


class Watch:
    """Wall clock and monotonic clock, as a test sets them."""

    def __init__(self) -> None:
        self.at = NOW
        self.seconds = 1000.0

    def now(self) -> datetime:
        """The wall clock."""
        return self.at

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def advance(self, span: timedelta) -> None:
        """Both go on."""
        self.at += span
        self.seconds += span.total_seconds()


def a_vault(folder: Path, watch: Watch, trust: VaultTrust = TRUST) -> Vault:
    """A vault over this folder."""
    provider = KeyFiles(folder, secrets.token_bytes)
    within = timedelta(seconds=60)
    return Vault(folder, trust, VAULT_KEY, provider, watch, settle_within=within, monotonic=watch.monotonic)


def answered(vault: Vault, **request: Any) -> dict[str, Any]:
    """What the vault answers to these words of a frame."""
    answer = json.loads(vault.answer(json.dumps(request).encode()))
    return dict(answer["ok"]) if "ok" in answer else {"refused": answer["refused"]["code"]}


def a_wrap(intake: IntakeKey, group: str, data_key: bytes, version: str = "1") -> DataKeyWrap:
    """A data key as a writer wraps it for the vault."""
    key = make("data_key", secrets.token_bytes(16))
    wrap = wrap_for_intake(intake, KEYSET, key, group, version, data_key)
    return DataKeyWrap(
        keyset=KEYSET, key=key, group=group, version=version, epoch=intake.epoch, wrap=wrap, is_adopted=False
    )


def wrapped(vault: Vault, group: str, data_key: bytes, version: str = "1") -> DataKeyWrap:
    """The same, to the intake key that this vault gives out."""
    intake = IntakeKey.model_validate(answered(vault, op="intake")["keys"][0])
    return a_wrap(intake, group, data_key, version)


def stored(vault: Vault, group: str, content: dict[str, Any], **changes: Any) -> StoredGroup:
    """A group as a writer seals it."""
    data_key = secrets.token_bytes(32)
    wrap = wrapped(vault, group, data_key, changes.pop("version", "1"))
    words = {"packet": PACKET, "agency": OWNER, "schema_name": GROUP_SCHEMA.format(group=group)} | changes
    place = wrap.packet_place(SECTOR, words["packet"], words["agency"], words["schema_name"])
    ct, kc = encrypt_group(place, data_key, json.dumps(content).encode())
    return StoredGroup(wrap=wrap, kc=kc, ct=ct, **words)


@dataclass(frozen=True)
class Pull:
    """One pull and all that it rests on; every part can be replaced before the vault sees it."""

    vault: Vault
    groups: tuple[StoredGroup, ...]
    case: DataKeyWrap
    purpose: str = "care"
    basis: str = "consent"
    record: KeyRecord = field(default_factory=a_record)
    recipient: bytes = field(default_factory=lambda: governed(an_agency(RECIPIENT)))
    service: bytes = field(default_factory=lambda: governed(OWN_SERVICE))
    protocol: ProtocolCurrent = field(default_factory=a_protocol)
    protocol_holders: int = 2
    consent: ConsentGround | None = field(default_factory=lambda: signed_consent(a_consent()))
    danger: DangerGround | None = None
    asked_at: datetime = NOW
    access_changes: dict[str, Any] = field(default_factory=dict)
    detail_changes: dict[str, Any] = field(default_factory=dict)
    body_changes: dict[str, Any] = field(default_factory=dict)
    signer: Signer = PERMITS
    log: Signer = LOG
    path: tuple[bytes, ...] | None = None
    growth: tuple[bytes, ...] | None = None

    def access(self) -> Access:
        """What the trail is told."""
        document = self.protocol.document
        words: dict[str, Any] = {
            "act": "break_glass" if self.basis == "break_glass" else "disclosure",
            "purpose": self.purpose,
            "basis": self.basis,
            "actor": Actor(id="st-1", role="nurse", client="cl-1"),
            "agency": RECIPIENT,
            "subject": REFERRAL,
            "referral": REFERRAL,
            "packet": PACKET,
            "groups": {row.wrap.group: row.wrap.version for row in self.groups},
            "consent": ConsentRef(id=CONSENT, version=1) if self.basis == "consent" else None,
            "protocol": {"id": document.id, "hash": bytes.fromhex(self.protocol.hash)},
            "recipient": {"agency": self.record.holder, "key": self.record.key},
            "explain": (),
        }
        return Access.model_validate(words | self.access_changes)

    def asked(self) -> PermitRequest:
        """The request for a permit, with a nonce of the vault."""
        access = self.access()
        nonce = answered(self.vault, op="ask", access=access.plain())["nonce"]
        return PermitRequest(idem=bytes(16), nonce=decoded(nonce), access=access)

    def permitted(self, request: PermitRequest) -> PermitAnswer:
        """What a trail answers: a leaf in its tree, a permit, and the tie to a signed checkpoint."""
        plain = request.plain()
        words = plain["access"] | trail_words("intent", "before", service=AUDIENCE, site=ORIGIN)
        detail = canonical(stamped(words | self.detail_changes, at="2026-03-02T12:00:00.000Z", number=1))
        mark, salt = tag(subject_key(CASE_SECRET, SUBJECT_NUMBER), 1), secrets.token_bytes(32)
        own = leaf_hash(leaf(mark, commitment(salt, detail)))
        tree = Tree()
        tree.extend([leaf_hash(bytes([number])) for number in range(LEAVES_BEFORE)])
        tree.extend([own])
        body: dict[str, Any] = {
            "origin": ORIGIN,
            "audience": AUDIENCE,
            "request": request_digest(plain, AUDIENCE),
            "nonce": request.nonce,
            "leaf": own,
            "index": LEAVES_BEFORE,
            "count": 1,
            "size": tree.size,
            "root": tree.root(),
            "expires": "2026-03-02T12:00:30.000Z",
        }
        path = self.path if self.path is not None else tuple(tree.inclusion_proof(LEAVES_BEFORE, tree.size))
        grown = self.growth if self.growth is not None else tuple(tree.consistency_proof(SIGNED, tree.size))
        note = signed_note(checkpoint_text(Checkpoint(ORIGIN, SIGNED, tree.root(SIGNED))), self.log)
        return PermitAnswer.model_validate(
            {
                "permit": signed_permit(PermitBody(**(body | self.body_changes)), self.signer),
                "opening": Opening(detail=detail, salt=salt, tag=mark),
                "items": (),
                "receipt": Receipt(path=path, checkpoint=note, consistency=grown),
            }
        )

    def request(self) -> OpenRequest:
        """The frame that asks the vault to open."""
        asked = self.asked()
        return OpenRequest(
            asked_at=self.asked_at,
            request=asked,
            answer=self.permitted(asked),
            subject=SubjectPlace(case=self.case, number=SUBJECT_NUMBER),
            groups=self.groups,
            key_record=self.record.model_dump_json().encode(),
            recipient=self.recipient,
            service=self.service,
            protocol=governed_text(self.protocol.model_dump_json(), self.protocol_holders),
            consent=self.consent,
            danger=self.danger,
        )

    def opened(self) -> dict[str, Any]:
        """What comes of it: the groups as the agency opens them, or the code of the refusal."""
        return opened(self.vault, self.request())


def frame_of(request: OpenRequest) -> dict[str, Any]:
    """The words of its frame."""
    return {"op": "open"} | request.model_dump(mode="json", exclude_none=True)


def opened(vault: Vault, request: OpenRequest) -> dict[str, Any]:
    """The groups of a release as the agency opens them, or the code of the refusal."""
    answer = answered(vault, **frame_of(request))
    if "refused" in answer:
        return answer
    return open_release(Release.model_validate(answer["release"]), PRIVATE, public(VAULT_KEY))


def a_pull(vault: Vault, **changes: Any) -> Pull:
    """A pull that is right in all its parts but those named."""
    groups = tuple(stored(vault, group, content) for group, content in CONTENTS.items())
    return replace(Pull(vault, groups, wrapped(vault, CASE_KEY, CASE_SECRET)), **changes)


def adopted(pull: Pull) -> Pull:
    """The same, once the vault has adopted its keys."""
    rows = [*(row.wrap for row in pull.groups), pull.case]
    answer = answered(pull.vault, op="adopt", rows=[row.model_dump(mode="json") for row in rows])
    *wraps, case = map(DataKeyWrap.model_validate, answer["rows"])
    groups = [row.model_copy(update={"wrap": wrap}) for row, wrap in zip(pull.groups, wraps, strict=True)]
    return replace(pull, groups=tuple(groups), case=case)
