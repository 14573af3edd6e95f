"""Every refusal of a sector service beside the runtime's, by name; the codes never change."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Final

from schemas.events.break_glass import APPROVAL_FAULTS
from schemas.events.consent import PURPOSES
from schemas.wire.key_records import KEY_RECORD_FAULTS
from services.runtime.errors import NotFound, Refused, define_refusal

_define: Final = partial(define_refusal, __name__)

PurposeMissing: Final = _define(
    "purpose_missing", "Send the header Concert-Purpose with a purpose code.", 400
)
PurposeUnknown: Final = _define(
    "purpose_unknown", f"Send the header Concert-Purpose with one of {', '.join(sorted(PURPOSES))}.", 422
)
PurposeNotServed: Final = _define(
    "purpose_not_served",
    "Your sector, or the token's role, does not serve this purpose; name one it does.",
    403,
)
IdempotencyKeyMissing: Final = _define(
    "idempotency_key_missing", "Send an Idempotency-Key of 1 to 255 visible characters, new each time.", 400
)
IdempotencyMismatch: Final = _define(
    "idempotency_mismatch", "This Idempotency-Key was used for another request; take a new one.", 422
)
IfMatchMissing: Final = _define(
    "if_match_missing", 'Send If-Match with the number of the last fact you have seen, such as "3".', 428
)
TagMalformed: Final = _define(
    "tag_malformed", 'Send the ETag as you got it, quoted, such as "3"; or several with commas; or *.', 400
)
StaleView: Final = _define("stale_view", "The referral has moved on; read it again, then decide.", 412)
CursorUnreadable: Final = _define(
    "cursor_unreadable", "Send `after` exactly as the last answer's `next` gave it, or leave it out.", 422
)
OutboxFull: Final = _define(
    "outbox_full",
    "too much waits to be sent, for brokers or trail are away; nothing was kept, so try again later",
    503,
)
TooManyWaiting: Final = _define(
    "too_many_waiting", "Sixteen requests of your agency wait already; end one, or ask without `wait`.", 429
)
TooManyConsents: Final = _define(
    "too_many_consents", "This case has a hundred consents; open a new case for what she agrees to next."
)
TooManyVersions: Final = _define(
    "too_many_versions", "This group has a hundred versions; open a new case for what she says next."
)
IntakeMissing: Final = _define(
    "intake_missing",
    "This service has no key of its vault yet, so nothing can be sealed; try again once the vault runs.",
    503,
)
"""On a fresh installation, or after one to two weeks without a vault."""
CaseErased: Final = _define(
    "case_erased", "This case was erased; nothing of it can be shown or asked any more.", 410
)
ClosureUnderWay: Final = _define(
    "closure_under_way", "Another change of this consent is being recorded; read the case in a minute."
)
KeyRecordMissing: Final = _define(
    "key_record_missing",
    "No such key of your agency is valid now; register one with PUT /v1/keys, and open with it.",
)
PacketEmpty: Final = _define("packet_empty", "Nothing was written in this packet yet; ask the owner.")
GroupNotShared: Final = _define(
    "group_not_shared", "The protocol lets your sector have none of a group that you ask for.", 403
)
PurposeNotShared: Final = _define(
    "purpose_not_shared",
    "The protocol lets your sector have a group that you ask for, for other purposes.",
    403,
)
KeyRefused: Final = _define(
    "key_refused", "The vault does not take your key's record; register a new one with PUT /v1/keys.", 403
)
GroundChanged: Final = _define("ground_changed", "What this rests on changed meanwhile; ask again.")
PermitUsed: Final = _define("permit_used", "This permit was used before, so nothing was opened; ask again.")
ReleaseLate: Final = _define(
    "release_late", "The release took too long and was ended, so that nobody waits for it; ask again.", 503
)
TooManyPulls: Final = _define(
    "too_many_pulls", "Too many pulls of your agency wait already; take their answers, then ask again.", 429
)
VaultRefused: Final = _define(
    "vault_refused", "The vault refused this release and the trail says why; tell the operator.", 503
)
SectorsOnly: Final = _define(
    "sectors_only", "Only the service of the recipient's own sector may ask for a release.", 403
)
OwnerAlone: Final = _define("owner_alone", "Only the agency that offered this referral asks for this.", 403)
RecipientIsOwner: Final = _define(
    "recipient_is_owner", "A referral goes to another agency; name another one as recipient.", 422
)
RecipientNotAdmitted: Final = _define(
    "recipient_not_admitted", "Each recipient must be an admitted agency; GET /v1/services names them.", 422
)
"""Consent to an agency that nobody knows would cover whoever takes that id one day."""
ApproverIsRequester: Final = _define(
    "approver_is_requester",
    "Another agency than the one that asks must approve; name another requester.",
    422,
)
RequesterNotAdmitted: Final = _define(
    "requester_not_admitted", "The requester must be an active agency; GET /v1/services names them.", 422
)
KEY_RECORD: Final = {code: _define(code, words, 422) for code, words in KEY_RECORD_FAULTS.items()}
"""What can be wrong with a key record, by its code."""
OtherKey: Final = _define("other_key", "The key in the address and in the record must be the same.", 422)
KeyRegistered: Final = _define(
    "key_registered", "This key is registered under another record, which never changes; make a fresh pair."
)
TooManyKeys: Final = _define(
    "too_many_keys", "Your agency has twenty keys whose time is not over; use one of them."
)
ApprovalRefused: Final = _define(
    "approval_refused",
    "The approval is not for this pull, is over after four hours, or is not signed; ask for another one.",
    403,
)
ConsentDoesNotCover: Final = _define(
    "consent_does_not_cover",
    "Her consent does not cover this, has ended, or was taken back; ask her, and record her answer.",
    403,
)


class VaultUnavailable(Refused):
    """The vault does not answer, or is closed: no packet is opened; writing goes on."""

    code = "vault_unavailable"
    sentence = "The vault that holds this packet does not answer, so nothing was opened; try again shortly."
    status = 503


class TrailUnavailable(Refused):
    """The trail did not give a valid permit: nothing is shown."""

    code = "trail_unavailable"
    sentence = "The access trail does not answer, so nothing can be shown; try again shortly."
    status = 503


class SubjectNotRegistered(TrailUnavailable):
    """The trail does not know these subjects yet; their owners' services will tell it."""

    def __init__(self, subjects: Collection[str] = ()) -> None:
        super().__init__()
        self.subjects = frozenset(subjects)
        """Those of a list that the trail named; it can be shown without them."""


PULL_DENIALS: Final = {one.code: one for one in (GroupNotShared, PurposeNotShared)}
"""What the protocol's table says no with; whatever it says besides is `group_not_shared`."""
VAULT_REFUSALS: Final[Mapping[str, type[Refused]]] = {
    "consent_does_not_cover": ConsentDoesNotCover,
    "consent_expired": ConsentDoesNotCover,
    "policy_denies": GroupNotShared,
    "keyset_closed": NotFound,
    "consent_closed": NotFound,
    **dict.fromkeys(KEY_RECORD_FAULTS, KeyRefused),
    **dict.fromkeys(APPROVAL_FAULTS, ApprovalRefused),
    **dict.fromkeys(
        ("unsettled", "state_lost", "ledger_behind", "ledger_conflict", "vault_busy"), VaultUnavailable
    ),
}
"""The vault's codes that say something to the asker; all others are `vault_refused`."""
FORWARDED: Final[Mapping[str, type[Refused]]] = {
    one.code: one
    for one in (
        NotFound, ConsentDoesNotCover, ApprovalRefused, GroupNotShared, PurposeNotShared, PacketEmpty,
        KeyRefused, GroundChanged, PermitUsed, ReleaseLate, TooManyPulls, VaultRefused, VaultUnavailable,
        TrailUnavailable,
    )
}  # fmt: skip
"""What the owner's sector can refuse a pull with, as the recipient's passes it on."""
