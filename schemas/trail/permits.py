"""The checks V1-V7 of a permit: what the asker makes sure of before it shows anything.

All of it is pure: time and keys are arguments. V8, that a permit serves once, is the asker's table: insert
(permit.origin, permit.index) under a primary key in the transaction that shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field, ValidationError

from schemas.events.access import (
    ACTS,
    NONCE_AGE_SECONDS_MAX,
    Access,
    Item,
    Moment,
    PermitAnswer,
    PermitBody,
    Receipt,
    SignedPermit,
)
from schemas.trail.bytes import (
    PERMIT_CONTEXT,
    canonical,
    commitment,
    leaf,
    request_digest,
    stamped,
    tag,
    trail_words,
)
from schemas.trail.notes import Checkpoint, NamedKey, NoteRefused, signed_checkpoint
from schemas.trail.tree import leaf_hash, verify_consistency, verify_inclusion


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
    checkpoint = check_signed(answer.receipt, trust)
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


def check_in_tree(body: PermitBody, receipt: Receipt) -> None:
    """V5: the path leads from the leaf at its index to the permit's root."""
    if not verify_inclusion(body.leaf, body.index, body.size, receipt.path, body.root):
        raise NotInTree


def check_signed(receipt: Receipt, trust: Trust) -> Checkpoint:
    """V6: the pinned log key signed the receipt's checkpoint."""
    try:
        return signed_checkpoint(receipt.checkpoint, trust.log_key)
    except NoteRefused:
        raise CheckpointUntrusted from None


def check_grown(checkpoint: Checkpoint, body: PermitBody, receipt: Receipt, question: Question) -> None:
    """V7: the permit's tree contains the signed one, and is not behind what the asker saw before."""
    old, new = (checkpoint.size, checkpoint.root), (body.size, body.root)
    if not verify_consistency(*old, *new, receipt.consistency):
        raise NotConsistent
    if body.size < question.size_seen:
        raise LogWentBack
