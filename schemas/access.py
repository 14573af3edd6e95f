"""The access trail: what is asked, what is answered, what the asker checks before it shows anything.

A service that shows something of a person asks the trail first (`PermitRequest`), gets a `PermitAnswer`, and
shows nothing unless `check_permit` returns. All of it is pure: time, keys and randomness are arguments.

    kinds     ACTS, missing_field(access, kind)
    shapes    Access Item PermitRequest PermitAnswer PermitBody OutcomeReports EventReports SubjectKeys
    bytes     canonical  request_digest  subject_key  commitment  tag  leaf  leaf_hash  node_hash  vkey
    checks    Question Trust check_permit (V1-V7); V8, that a permit serves once, is the asker's table:
              insert (permit.origin, permit.index) under a primary key in the transaction that shows.

The tree is RFC 6962 (RFC 9162 section 2.1), notes and keys are C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Literal

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from schemas.ids import AgencyId, ConsentId, ProtocolId, ReferralId

# --- Kinds ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Act:
    """One way of looking at or deciding about a person's record, and the fields its entry must have."""

    kind: Literal["intent", "event"]
    needs: frozenset[str]
    lists: bool = False


_WHO: Final = frozenset({"actor", "agency"})
_WHY: Final = frozenset({"purpose", "basis", "explain"})
_WHAT: Final = frozenset({"referral", "packet", "groups", "protocol", "recipient"})

ACTS: Final[Mapping[str, Act]] = {
    "disclosure": Act("intent", _WHO | _WHY | _WHAT | {"subject"}),
    "view": Act("intent", _WHO | _WHY | {"subject"}),
    "list": Act("intent", _WHO | _WHY, lists=True),
    "export": Act("intent", _WHO | _WHY | _WHAT, lists=True),
    "trail_read": Act("intent", _WHY | {"actor"}, lists=True),
    "denial": Act("event", frozenset({"actor", "reason"})),
    "consent": Act("event", _WHO | {"subject", "consent"}),
}

ITEMS_MAX: Final = 500
REPORTS_MAX: Final = 500
DETAIL_BYTES_MAX: Final = 4096
PROOF_HASHES_MAX: Final = 63
NONCE_AGE_SECONDS_MAX: Final = 30

# --- Shapes ---------------------------------------------------------------------------------------


def encoded(raw: bytes) -> str:
    """Bytes as standard base64."""
    return base64.b64encode(raw).decode("ascii")


def decoded(text: object) -> bytes:
    """Bytes of standard base64, refusing every second spelling of the same bytes."""
    if not isinstance(text, str):
        raise ValueError("standard base64 text is needed")
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("this is not standard base64") from None
    if encoded(raw) != text:
        raise ValueError("this is not canonical base64")
    return raw


def _exactly(size: int | None) -> PlainValidator:
    def validate(value: object) -> bytes:
        raw = value if isinstance(value, bytes) else decoded(value)
        if size is not None and len(raw) != size:
            raise ValueError(f"exactly {size} bytes are needed")
        return raw

    return PlainValidator(validate)


_AS_TEXT: Final = PlainSerializer(encoded, return_type=str, when_used="json")
_BASE64: Final = WithJsonSchema({"type": "string", "contentEncoding": "base64"})

Bytes = Annotated[bytes, _exactly(None), _AS_TEXT, _BASE64]
Bytes16 = Annotated[bytes, _exactly(16), _AS_TEXT, _BASE64]
Bytes32 = Annotated[bytes, _exactly(32), _AS_TEXT, _BASE64]
Bytes52 = Annotated[bytes, _exactly(52), _AS_TEXT, _BASE64]
Bytes64 = Annotated[bytes, _exactly(64), _AS_TEXT, _BASE64]

_MOMENT: Final = r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\.[0-9]{3}Z$"

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Token = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
Moment = Annotated[str, StringConstraints(pattern=_MOMENT)]
SubjectId = Annotated[str, StringConstraints(pattern=r"^(ref|sub)_[a-z2-7]{26}$")]
Origin = Annotated[str, StringConstraints(pattern=r"^[!-*,-~]{1,128}$")]
Whole = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
Groups = Annotated[dict[Code, Token], Field(min_length=1, max_length=16)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def plain(self) -> dict[str, Any]:
        """As JSON values, without what is absent: the form that is hashed."""
        return self.model_dump(mode="json", exclude_none=True)


class Actor(_Shape):
    """Who looks: a member of staff by pseudonym, through a system; a job is its system alone."""

    id: Token | None = None
    role: Code | None = None
    auth: Code | None = None
    client: Token
    net: Token | None = None


class ConsentVersion(_Shape):
    """The version of her consent that covers the look."""

    id: ConsentId
    version: Whole


class ProtocolVersion(_Shape):
    """The information-sharing protocol in force, by the hash of its text."""

    id: ProtocolId
    hash: Bytes32


class Recipient(_Shape):
    """The agency that gets the groups, and the key they are sealed to."""

    agency: AgencyId
    key: Annotated[str, StringConstraints(pattern=r"^rk_[a-z2-7]{26}$")]


class Reason(_Shape):
    """Why this look is expected: a code, and what it points to."""

    code: Code
    ref: Token | None = None


class Access(_Shape):
    """What somebody is about to see or has done; which fields an act needs stands in `ACTS`."""

    act: Code
    purpose: Code | None = None
    basis: Code | None = None
    actor: Actor | None = None
    agency: AgencyId | None = None
    subject: SubjectId | None = None
    referral: ReferralId | None = None
    packet: Token | None = None
    groups: Groups | None = None
    consent: ConsentVersion | None = None
    protocol: ProtocolVersion | None = None
    recipient: Recipient | None = None
    explain: Annotated[tuple[Reason, ...], Field(max_length=16)] | None = None
    reason: Code | None = None
    times: Whole | None = None
    rid: Token | None = None


class Item(_Shape):
    """One row of a list about to be shown."""

    subject: SubjectId
    referral: ReferralId | None = None


class PermitRequest(_Shape):
    """`POST /v1/permits`: the intent, before anything is shown."""

    idem: Bytes16
    nonce: Bytes16
    access: Access
    items: Annotated[tuple[Item, ...], Field(max_length=ITEMS_MAX)] = ()


class SignedPermit(_Shape):
    """The permit's exact bytes, and the signature over them."""

    body: Bytes
    key: Token
    sig: Bytes64


class Opening(_Shape):
    """What opens the intent's leaf: its detail, salt and tag."""

    detail: Bytes
    salt: Bytes32
    tag: Bytes16


class Receipt(_Shape):
    """Where the leaf stands: path to the permit's head, and that head's tie to a signed checkpoint."""

    path: Annotated[tuple[Bytes32, ...], Field(max_length=PROOF_HASHES_MAX)]
    checkpoint: str
    consistency: Annotated[tuple[Bytes32, ...], Field(max_length=PROOF_HASHES_MAX)]


class PermitAnswer(_Shape):
    """The trail's answer to a permit request."""

    permit: SignedPermit
    opening: Opening
    items: tuple[Bytes52, ...]
    receipt: Receipt


class PermitBody(_Shape):
    """The signed words of a permit."""

    v: Literal[1]
    origin: Origin
    audience: Token
    request: Bytes32
    nonce: Bytes16
    leaf: Bytes32
    index: Whole
    count: Whole
    size: Whole
    root: Bytes32
    expires: Moment


class OutcomeReport(_Shape):
    """What came of one intent."""

    idem: Bytes16
    origin: Origin
    intent: Whole
    result: Literal["released", "refused", "failed"]
    reason: Code | None = None
    decision: Token | None = None
    groups: Groups | None = None
    bytes: Whole | None = None
    digest: Bytes32 | None = None
    happened: Moment


class OutcomeReports(_Shape):
    """`POST /v1/outcomes`."""

    outcomes: Annotated[tuple[OutcomeReport, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class EventReport(_Shape):
    """Something that was done, and needed no permit: recorded with the act, or late."""

    idem: Bytes16
    mode: Literal["with", "late"]
    happened: Moment
    access: Access


class EventReports(_Shape):
    """`POST /v1/events`."""

    events: Annotated[tuple[EventReport, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class SubjectKey(_Shape):
    """A subject and the key of its tags, registered by its owner."""

    id: SubjectId
    key: Bytes32 = Field(repr=False)
    retention: Code


class SubjectKeys(_Shape):
    """`POST /v1/subjects`."""

    subjects: Annotated[tuple[SubjectKey, ...], Field(min_length=1, max_length=REPORTS_MAX)]


class Placed(_Shape):
    """Where a reported entry stands."""

    origin: Origin
    index: Whole


def missing_field(access: Access, kind: Literal["intent", "event"]) -> str | None:
    """JSON pointer, within the access, of the first field that is missing or wrong; None if complete."""
    act = ACTS.get(access.act)
    if act is None or act.kind != kind:
        return "/act"
    needs = act.needs | ({"consent"} if access.basis == "consent" else set())
    return next((f"/{name}" for name in sorted(needs) if getattr(access, name) is None), None)


# --- Bytes ----------------------------------------------------------------------------------------

LEAF_PREFIX: Final = b"AAT1"
PERMIT_CONTEXT: Final = b"concert/permit/v1\n"
REQUEST_CONTEXT: Final = b"concert/request/v1\n"
ED25519: Final = b"\x01"
_EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def canonical(value: Any) -> bytes:
    """JSON in its one canonical form (RFC 8785)."""
    return rfc8785.dumps(value)


def request_digest(access: Access, audience: str, items: Sequence[Item], nonce: bytes) -> bytes:
    """The digest that ties a permit to one request of one service."""
    asked = {
        "access": access.plain(),
        "audience": audience,
        "items": [item.plain() for item in items],
        "nonce": encoded(nonce),
    }
    return hashlib.sha256(REQUEST_CONTEXT + canonical(asked)).digest()


def fact_idem(source: str, event: str) -> bytes:
    """The `idem` of an entry that records a fact: the same fact, the same entry."""
    return hashlib.sha256(f"{source}\n{event}".encode()).digest()[:16]


def subject_key(case_key: bytes, number: int) -> bytes:
    """The tag key of one subject of a case: 0 is the case itself, 1, 2, … its referrals."""
    info = b"aat1/subject" + number.to_bytes(4, "big")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(case_key)


def commitment(salt: bytes, detail: bytes) -> bytes:
    """Binds a leaf to its detail; without the salt nobody can guess the detail from it."""
    return hmac.digest(salt, b"\x01" + detail, "sha256")


def tag(key: bytes, number: int) -> bytes:
    """The subject's mark on its n-th entry; random to everybody without the key."""
    return hmac.digest(key, b"aat1/tag" + number.to_bytes(8, "big"), "sha256")[:16]


def leaf(entry_tag: bytes, entry_commitment: bytes) -> bytes:
    """The 52 public bytes of an entry."""
    return LEAF_PREFIX + entry_tag + entry_commitment


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes, folding complete subtrees from the right edge."""
    edge: list[bytes] = []
    for count, node in enumerate(hashes, start=1):
        edge.append(node)
        while count % 2 == 0:
            right = edge.pop()
            edge[-1] = node_hash(edge[-1], right)
            count //= 2
    return _folded(edge)


def _folded(edge: list[bytes]) -> bytes:
    if not edge:
        return _EMPTY_ROOT
    root = edge[-1]
    for left in reversed(edge[:-1]):
        root = node_hash(left, root)
    return root


# --- Keys and checkpoints -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NamedKey:
    """An Ed25519 public key with the name it signs under."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand before each of its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature over the message is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def vkey(key: NamedKey) -> str:
    """A public key as C2SP writes it: name, id, type and key."""
    return f"{key.name}+{key.id.hex()}+{encoded(ED25519 + key.public)}"


def named_key(text: str) -> NamedKey:
    """Read a public key; a ValueError when its id and its bytes do not belong together."""
    name, plus, rest = text.partition("+")
    key_id, second, blob = rest.partition("+")
    raw = decoded(blob)
    if not (name and plus and second) or len(raw) != 33 or raw[:1] != ED25519:
        raise ValueError("an Ed25519 verifier key is needed: name+id+key")
    key = NamedKey(name, raw[1:])
    if key.id.hex() != key_id:
        raise ValueError("the verifier key's id does not belong to its bytes")
    return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed head of the log."""

    origin: str
    size: int
    root: bytes


@lru_cache(maxsize=64)
def signed_checkpoint(note: str, key: NamedKey) -> Checkpoint:
    """The checkpoint of a note that this log key signed; the verdict is kept per text."""
    try:
        text, signatures = _note_parts(note)
        checkpoint = _checkpoint(text)
        found = [raw[4:] for name, raw in signatures if name == key.name and raw[:4] == key.id]
    except ValueError:
        raise CheckpointUntrusted from None
    if checkpoint.origin != key.name or len(found) != 1 or not key.verifies(found[0], text.encode()):
        raise CheckpointUntrusted
    return checkpoint


SIGNATURES_MAX: Final = 16
_SIZE_MAX: Final = 2**63 - 1


def _note_parts(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if any(ord(mark) < 0x20 and mark != "\n" for mark in note) or not note.endswith("\n"):
        raise ValueError("a note has no control characters and ends its last line")
    body, blank, tail = note.rpartition("\n\n")
    lines = tail[:-1].split("\n")
    if not blank or len(lines) > SIGNATURES_MAX:
        raise ValueError("a note has a text, a blank line and some signatures")
    signatures = [_signature(line) for line in lines]
    if len({(name, raw[:4]) for name, raw in signatures}) != len(signatures):
        raise ValueError("no key signs a note twice")
    return body + "\n", signatures


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not parts[1] or "+" in parts[1]:
        raise ValueError("a signature is a dash, a name and base64")
    raw = decoded(parts[2])
    if len(raw) < 5:
        raise ValueError("a signature has a key id before it")
    return parts[1], raw


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise ValueError("a checkpoint has exactly three lines")
    origin, size, root = lines[0], lines[1], decoded(lines[2])
    if not (size.isascii() and size.isdigit()) or (size[0] == "0" and size != "0"):
        raise ValueError("a size is a decimal number")
    if not origin or len(root) != 32 or len(size) > 19 or int(size) > _SIZE_MAX:
        raise ValueError("a checkpoint has an origin, a size and a root of 32 bytes")
    return Checkpoint(origin, int(size), root)


# --- Checks ---------------------------------------------------------------------------------------


class BadPermit(Exception):
    """What the trail answered is not a valid permit for what was asked: show nothing."""

    code: ClassVar[str]
    sentence: ClassVar[str]

    def __str__(self) -> str:
        return self.sentence


class PermitSignatureWrong(BadPermit):
    """V1."""

    code = "permit_signature_wrong"
    sentence = "The permit is not signed by a permit key that this service trusts."


class PermitForAnotherLog(BadPermit):
    """V2."""

    code = "permit_for_another_log"
    sentence = "The permit speaks of another log than the configured one."


class PermitForAnotherService(BadPermit):
    """V2."""

    code = "permit_for_another_service"
    sentence = "The permit was given to another service."


class PermitForAnotherRequest(BadPermit):
    """V3."""

    code = "permit_for_another_request"
    sentence = "The permit was given for another request."


class NonceUnknown(BadPermit):
    """V3."""

    code = "nonce_unknown"
    sentence = "The permit carries another nonce than the one this request was asked with."


class NonceTooOld(BadPermit):
    """V3."""

    code = "nonce_too_old"
    sentence = "The permit came too long after it was asked for."


class DetailDiffers(BadPermit):
    """V4."""

    code = "detail_differs"
    sentence = "The recorded entry does not say what was asked."


class LeafDiffers(BadPermit):
    """V4."""

    code = "leaf_differs"
    sentence = "The recorded detail does not belong to the leaf that the permit names."


class NotInTree(BadPermit):
    """V5."""

    code = "not_in_tree"
    sentence = "The receipt's path does not lead from the leaf to the permit's root."


class CheckpointUntrusted(BadPermit):
    """V6."""

    code = "checkpoint_untrusted"
    sentence = "The receipt's checkpoint is not signed by the log key that this service trusts."


class NotConsistent(BadPermit):
    """V7."""

    code = "not_consistent"
    sentence = "The permit's tree does not grow out of the signed checkpoint."


class LogWentBack(BadPermit):
    """V7."""

    code = "log_went_back"
    sentence = "The permit's tree is smaller than one this service has seen before."


@dataclass(frozen=True, slots=True)
class Trust:
    """What a service pins about the trail, out of band."""

    origin: str
    permit_keys: tuple[NamedKey, ...]
    log_key: NamedKey


@dataclass(frozen=True, slots=True)
class Question:
    """What the asker remembers of one request; it serves one check and is forgotten.

    `asked_at` is the asker's own monotonic clock in seconds, `size_seen` the largest tree size it had stored
    when it asked, `tag_key` the subject's key where the asker is the subject's owner.
    """

    audience: str
    access: Access
    items: tuple[Item, ...]
    nonce: bytes
    asked_at: float
    size_seen: int = 0
    tag_key: bytes | None = None


def check_permit(answer: PermitAnswer, question: Question, trust: Trust, *, now: float) -> PermitBody:
    """Return the permit's words if all of V1-V7 hold, else raise the `BadPermit` that says which does not."""
    body = check_signature(answer.permit, trust)
    check_addressed(body, question, trust)
    check_requested(body, question, now=now)
    check_opened(answer, body, question)
    check_in_tree(body, answer.receipt)
    checkpoint = signed_checkpoint(answer.receipt.checkpoint, trust.log_key)
    check_grown(checkpoint, body, answer.receipt, question)
    return body


def check_signature(permit: SignedPermit, trust: Trust) -> PermitBody:
    """V1: a pinned permit key signed exactly these bytes."""
    key = next((key for key in trust.permit_keys if key.name == permit.key), None)
    if key is None or not key.verifies(permit.sig, PERMIT_CONTEXT + permit.body):
        raise PermitSignatureWrong
    try:
        return PermitBody.model_validate_json(permit.body)
    except ValidationError:
        raise PermitSignatureWrong from None


def check_addressed(body: PermitBody, question: Question, trust: Trust) -> None:
    """V2: it comes from the configured log and is meant for this service."""
    if body.origin != trust.origin:
        raise PermitForAnotherLog
    if body.audience != question.audience:
        raise PermitForAnotherService


def check_requested(body: PermitBody, question: Question, *, now: float) -> None:
    """V3: it answers the request in hand, which is at most 30 s old by the asker's own clock."""
    if body.request != request_digest(question.access, question.audience, question.items, question.nonce):
        raise PermitForAnotherRequest
    if body.nonce != question.nonce:
        raise NonceUnknown
    if not 0 <= now - question.asked_at <= NONCE_AGE_SECONDS_MAX:
        raise NonceTooOld


def check_opened(answer: PermitAnswer, body: PermitBody, question: Question) -> None:
    """V4: the entry says what was asked, field by field, and is the entry that the permit names."""
    opening = answer.opening
    own = _own_words(opening.detail)
    if len(answer.items) != len(question.items) or body.count != 1 + len(question.items):
        raise DetailDiffers
    if question.access.subject is not None and own.n is None:
        raise DetailDiffers
    if canonical(_intent(question, answer.items, site=body.origin, own=own)) != opening.detail:
        raise DetailDiffers
    if leaf_hash(leaf(opening.tag, commitment(opening.salt, opening.detail))) != body.leaf:
        raise LeafDiffers
    if question.tag_key is not None and opening.tag != tag(question.tag_key, own.n or 0):
        raise LeafDiffers


class _OwnWords(BaseModel):
    """What of an intent the trail alone decides: its time and the subject's counter."""

    t: Moment
    n: Annotated[int, Field(strict=True, ge=1, lt=2**53)] | None = None


def _own_words(detail: bytes) -> _OwnWords:
    try:
        return _OwnWords.model_validate_json(detail)
    except ValidationError:
        raise DetailDiffers from None


def _intent(question: Question, leaves: Sequence[bytes], *, site: str, own: _OwnWords) -> dict[str, Any]:
    words = question.access.plain() | trail_words("intent", "before", service=question.audience, site=site)
    names_items = bool(question.items) or ACTS[question.access.act].lists
    number = own.n if question.access.subject is not None else None
    return stamped(words, at=own.t, number=number, item_leaves=leaves if names_items else None)


def trail_words(kind: str, mode: str, *, service: str, site: str) -> dict[str, Any]:
    """What the trail itself says about an entry of an access, but for time and counter."""
    return {"v": 1, "kind": kind, "mode": mode, "service": service, "site": site}


def stamped(
    words: Mapping[str, Any], *, at: str, number: int | None, item_leaves: Sequence[bytes] | None = None
) -> dict[str, Any]:
    """A detail, complete: its words, its time, the subject's counter, and the items before it."""
    detail = {**words, "t": at}
    if number is not None:
        detail["n"] = number
    if item_leaves is not None:
        detail["items"] = items_field(item_leaves)
    return detail


def items_field(leaves: Sequence[bytes]) -> dict[str, Any]:
    """How an intent names the items before it: their count, and the root over their leaves."""
    return {"count": len(leaves), "root": encoded(tree_root([leaf_hash(entry) for entry in leaves]))}


def check_in_tree(body: PermitBody, receipt: Receipt) -> None:
    """V5: the path leads from the leaf at its index to the permit's root."""
    if not verify_inclusion(body.leaf, body.index, body.size, receipt.path, body.root):
        raise NotInTree


def check_grown(checkpoint: Checkpoint, body: PermitBody, receipt: Receipt, question: Question) -> None:
    """V7: the permit's tree contains the signed one, and is not behind what the asker saw before."""
    old, new = (checkpoint.size, checkpoint.root), (body.size, body.root)
    if not verify_consistency(*old, *new, receipt.consistency):
        raise NotConsistent
    if body.size < question.size_seen:
        raise LogWentBack


def verify_inclusion(hashed: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves a leaf hash at an index of a tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or any(len(node) != 32 for node in (hashed, root, *path)):
        return False
    position, last = index, size - 1
    for node in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            hashed = node_hash(node, hashed)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            hashed = node_hash(hashed, node)
        position, last = position >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the new tree begins with the old one (RFC 9162 section 2.1.4.2; from size 0: no hashes)."""
    if not 0 <= old_size <= new_size or any(len(node) != 32 for node in (old_root, new_root, *proof)):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == _EMPTY_ROOT
    return _grows(old_size, old_root, new_size, new_root, list(proof))


def _grows(old_size: int, old_root: bytes, new_size: int, new_root: bytes, nodes: list[bytes]) -> bool:
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old, new = nodes[0], nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, node)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root
