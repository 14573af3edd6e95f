"""The checks V1-V7 of a permit: what the asker makes sure of before it shows anything.

All of it is pure: time and keys are arguments, requests and answers are plain values, their fields by name.
V8, that a permit serves once, is the asker's table: insert (permit.origin, permit.index) under a primary key
in the transaction that shows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from schemas.trail.bytes import (
    TrailFault,
    canonical,
    commitment,
    decoded,
    encoded,
    is_counter,
    json_object,
    leaf,
    request_digest,
    stamped,
    tag,
    trail_words,
)
from schemas.trail.notes import Checkpoint, NamedKey, Signer, signed_checkpoint
from schemas.trail.tree import leaf_hash, verify_consistency, verify_inclusion

PERMIT_CONTEXT: Final = b"concert/permit/v1\n"
NONCE_AGE_SECONDS_MAX: Final = 30
MOMENT: Final = r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\.[0-9]{3}Z$"

WENT_BACK: Final = "log_went_back"
FAULTS: Final[Mapping[str, str]] = {
    # V1
    "permit_signature_wrong": "The permit is not signed by a permit key that this service trusts.",
    # V2
    "permit_for_another_log": "The permit speaks of another log than the configured one.",
    "permit_for_another_service": "The permit was given to another service.",
    # V3
    "permit_for_another_request": "The permit was given for another request.",
    "nonce_unknown": "The permit carries another nonce than the one this request was asked with.",
    "nonce_too_old": "The permit came too long after it was asked for.",
    # V4
    "detail_differs": "The recorded entry does not say what was asked.",
    "leaf_differs": "The recorded detail does not belong to the leaf that the permit names.",
    # V5
    "not_in_tree": "The receipt's path does not lead from the leaf to the permit's root.",
    # V6
    "checkpoint_untrusted": "The receipt's checkpoint is not signed by the log key that this service trusts.",
    # V7
    "not_consistent": "The permit's tree does not grow out of the signed checkpoint.",
    WENT_BACK: "The permit's tree is smaller than one this service has seen before.",
}
"""What can be wrong with a permit: code → sentence."""


class BadPermit(Exception):
    """What the trail answered is not a valid permit for what was asked, by a code of FAULTS: show nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(FAULTS[code])
        self.code = code


@dataclass(frozen=True, slots=True)
class PermitBody:
    """The signed words of a permit."""

    origin: str
    audience: str
    request: bytes
    nonce: bytes
    leaf: bytes
    index: int
    count: int
    size: int
    root: bytes
    expires: str
    v: int = 1


@dataclass(frozen=True, slots=True)
class Trust:
    """What a service pins about the trail, out of band."""

    origin: str
    permit_keys: tuple[NamedKey, ...]
    log_key: NamedKey


@dataclass(frozen=True, slots=True)
class Question:
    """What the asker remembers of one request, as it was sent; it serves one check and is forgotten.

    `asked_at` is the asker's own monotonic clock in seconds, `names_items` says whether the act is that of a
    list, `size_seen` is the largest tree size it had stored when it asked, `tag_key` the subject's key where
    the asker is the subject's owner.
    """

    audience: str
    request: Mapping[str, Any]
    asked_at: float
    names_items: bool = False
    size_seen: int = 0
    tag_key: bytes | None = None


def signed_permit(body: PermitBody, signer: Signer) -> dict[str, Any]:
    """A permit's exact bytes, signed."""
    words = {one.name: getattr(body, one.name) for one in fields(body)}
    raw = canonical({name: encoded(one) if isinstance(one, bytes) else one for name, one in words.items()})
    return {"body": raw, "key": signer.name, "sig": signer.private.sign(PERMIT_CONTEXT + raw)}


def read_permit(raw: bytes) -> PermitBody:
    """The words of a permit; TrailFault where one is missing, unknown or of another type."""
    words = json_object(raw)
    read = {one.name: _typed(words.get(one.name), one.type) for one in fields(PermitBody)}
    if words.keys() != read.keys() or read["v"] != 1:
        raise TrailFault("a permit has these words and no other")
    return PermitBody(**read)


def check_permit(answer: Mapping[str, Any], question: Question, trust: Trust, *, now: float) -> PermitBody:
    """Return the permit's words if all of V1-V7 hold, else raise the BadPermit that says which does not."""
    receipt = answer["receipt"]
    body = check_signature(answer["permit"], trust)
    check_addressed(body, question, trust)
    check_requested(body, question, now=now)
    check_opened(body, answer["opening"], answer["items"], question)
    check_in_tree(body, receipt["path"])
    checkpoint = check_signed(receipt["checkpoint"], trust)
    check_grown(checkpoint, body, receipt["consistency"], question)
    return body


def check_signature(permit: Mapping[str, Any], trust: Trust) -> PermitBody:
    """V1: a pinned permit key signed exactly these bytes."""
    key = next((key for key in trust.permit_keys if key.name == permit["key"]), None)
    if key is None or not key.verifies(permit["sig"], PERMIT_CONTEXT + permit["body"]):
        raise BadPermit("permit_signature_wrong")
    try:
        return read_permit(permit["body"])
    except TrailFault:
        raise BadPermit("permit_signature_wrong") from None


def check_addressed(body: PermitBody, question: Question, trust: Trust) -> None:
    """V2: it comes from the configured log and is meant for this service."""
    if body.origin != trust.origin:
        raise BadPermit("permit_for_another_log")
    if body.audience != question.audience:
        raise BadPermit("permit_for_another_service")


def check_requested(body: PermitBody, question: Question, *, now: float) -> None:
    """V3: it answers the request in hand, which is at most 30 s old by the asker's own clock."""
    if body.request != request_digest(question.request, question.audience):
        raise BadPermit("permit_for_another_request")
    if encoded(body.nonce) != question.request["nonce"]:
        raise BadPermit("nonce_unknown")
    if not 0 <= now - question.asked_at <= NONCE_AGE_SECONDS_MAX:
        raise BadPermit("nonce_too_old")


def check_opened(
    body: PermitBody, opening: Mapping[str, Any], leaves: Sequence[bytes], question: Question
) -> None:
    """V4: the entry says what was asked, field by field, and is the entry that the permit names."""
    access, items = question.request["access"], question.request["items"]
    if not len(leaves) == len(items) == body.count - 1:
        raise BadPermit("detail_differs")
    at, number = _own_words(opening["detail"], counts="subject" in access)
    own = trail_words("intent", "before", service=question.audience, site=body.origin)
    item_leaves = leaves if question.names_items else None
    intent = stamped({**access, **own}, at=at, number=number, item_leaves=item_leaves)
    if canonical(intent) != opening["detail"]:
        raise BadPermit("detail_differs")
    if leaf_hash(leaf(opening["tag"], commitment(opening["salt"], opening["detail"]))) != body.leaf:
        raise BadPermit("leaf_differs")
    if question.tag_key is not None and opening["tag"] != tag(question.tag_key, number or 0):
        raise BadPermit("leaf_differs")


def check_in_tree(body: PermitBody, path: Sequence[bytes]) -> None:
    """V5: the path leads from the leaf at its index to the permit's root."""
    if not verify_inclusion(body.leaf, body.index, body.size, path, body.root):
        raise BadPermit("not_in_tree")


def check_signed(note: str, trust: Trust) -> Checkpoint:
    """V6: the pinned log key signed the receipt's checkpoint."""
    try:
        return signed_checkpoint(note, trust.log_key)
    except TrailFault:
        raise BadPermit("checkpoint_untrusted") from None


def check_grown(checkpoint: Checkpoint, body: PermitBody, proof: Sequence[bytes], question: Question) -> None:
    """V7: the permit's tree contains the signed one, and is not behind what the asker saw before."""
    if not verify_consistency(checkpoint.size, checkpoint.root, body.size, body.root, proof):
        raise BadPermit("not_consistent")
    if body.size < question.size_seen:
        raise BadPermit(WENT_BACK)


def _typed(value: object, kind: object) -> Any:
    read = decoded(value) if kind is bytes else value
    if type(read) is not kind:
        raise TrailFault("a word of a permit is of another type")
    return read


def _own_words(detail: bytes, *, counts: bool) -> tuple[str, int | None]:
    """What of an intent the trail alone decides: its time, and the subject's counter where it has one."""
    try:
        words = json_object(detail)
    except TrailFault:
        raise BadPermit("detail_differs") from None
    at, number = words.get("t"), words.get("n")
    if not (isinstance(at, str) and re.fullmatch(MOMENT, at)) or not (is_counter(number) or not counts):
        raise BadPermit("detail_differs")
    return at, number if counts else None
