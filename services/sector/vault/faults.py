"""Why a vault says no: every code, with the sentence that its operator reads."""

from collections.abc import Mapping
from typing import Final

from schemas.events.break_glass import APPROVAL_FAULTS
from schemas.trail.permits import FAULTS
from schemas.wire.key_records import KEY_RECORD_FAULTS

VAULT_FAULTS: Final[Mapping[str, str]] = {
    **FAULTS,
    **KEY_RECORD_FAULTS,
    **APPROVAL_FAULTS,
    # The frame
    "malformed": "The frame is not strict JSON of a known operation.",
    "unexpected": "The vault failed; its log names the kind of error.",
    "vault_busy": "Too many permits are asked for at once; try again.",
    # Closed
    "state_lost": "The vault's ledger is gone or damaged; rebuild it from the trail.",
    "ledger_conflict": "The database's ledger is another than the vault's: an older copy went on. Rebuild.",
    "ledger_behind": "The database is behind the vault's ledger, so it is an older copy; replay the ledger.",
    "ledger_gap": "Ledger rows must follow one another without gap.",
    "ledger_sound": "The ledger is whole; only a lost one is rebuilt.",
    "not_a_closure": "An entry is no closure of this sector, or does not lead to the signed head.",
    "unsettled": "An entry that a release rests on was not published in time; look at the trail.",
    # What `open` checks besides the permit
    "request_late": "The request's time is more than five seconds from the vault's clock.",
    "request_differs": "What is to be released is not what the entry names.",
    "admission_unsigned": "The recipient's admission is not signed by two of the pinned governance keys.",
    "service_unsigned": "The service's keys are not signed by two governance keys, or are another service's.",
    "consent_unsigned": "The consent is not signed by this sector's service.",
    "consent_does_not_cover": "Her consent does not cover this recipient, group or purpose.",
    "consent_expired": "Her consent has ended.",
    "not_own_case": "The packet was recorded by another agency than the one that asks.",
    "basis_unknown": "No such ground for a release.",
    "keyset_closed": "The case was erased.",
    "consent_closed": "This version of her consent was taken back or replaced.",
    "protocol_unsigned": "The protocol is not signed by two governance keys, or not the one its hash names.",
    "protocol_not_live": "The protocol is not in force, or does not join the two agencies.",
    "policy_denies": "The protocol lets this recipient have nothing of a group for this purpose.",
    "schema_unknown": "A group was written under a schema that this vault does not know.",
    "cannot_open": "A wrap, commitment or ciphertext does not belong where it stands.",
}


class VaultRefusal(Exception):
    """The vault says no, by a code of VAULT_FAULTS; nothing was released."""

    def __init__(self, code: str) -> None:
        super().__init__(VAULT_FAULTS[code])
        self.code = code
