"""What the arbiter refuses; no sentence echoes a value."""

from functools import partial
from typing import Final

from services.runtime.errors import define_refusal

_define: Final = partial(define_refusal, __name__)

NotAParty: Final = _define("not_a_party", "this agency cannot ask this of this referral")
WrongState: Final = _define("wrong_state", "the referral is in no state for this step; read it again")
TooLate: Final = _define("too_late", "the time to answer has passed and the referral has expired")
Withdrawn: Final = _define("withdrawn", "the referral was withdrawn; seal what you hold and confirm it")
UnknownCode: Final = _define("unknown_code", "a need, reason, outcome or purpose is not in the code list")
AgencyInactive: Final = _define("agency_inactive", "one of the two agencies is not admitted, or is suspended")
NoLiveProtocol: Final = _define("no_live_protocol", "no sharing protocol in force joins the two agencies")
EntryStale: Final = _define("entry_stale", "this service has no active, recently confirmed directory entry")
ConsentDoesNotCover: Final = _define(
    "consent_does_not_cover", "her consent does not cover this recipient, purpose or step, or has ended"
)
HopLimit: Final = _define(
    "hop_limit", "five services were asked already; meet on her case, or record which need stays unmet"
)
PacketGrew: Final = _define(
    "packet_grew", "this carries more groups than before; ask her, and record a newer version of her consent"
)
