"""What the arbiter refuses; no sentence echoes a value."""

from services.runtime.errors import Refused


class NotAParty(Refused):
    """The asker is no party to this referral, or not the party that may ask this."""

    code = "not_a_party"
    sentence = "this agency cannot ask this of this referral"


class WrongState(Refused):
    """The referral stands elsewhere."""

    code = "wrong_state"
    sentence = "the referral does not stand where this step leads on from; read it again"


class TooLate(Refused):
    """The time for an answer has passed."""

    code = "too_late"
    sentence = "the time to answer has passed and the referral has expired"


class Withdrawn(Refused):
    """She has taken her consent back."""

    code = "withdrawn"
    sentence = "the referral was withdrawn; seal what you hold and confirm it"


class UnknownCode(Refused):
    """A code that no table lists."""

    code = "unknown_code"
    sentence = "a need, reason, outcome or purpose is not in the code list"


class AgencyInactive(Refused):
    """One of the two agencies is not admitted or is suspended."""

    code = "agency_inactive"
    sentence = "one of the two agencies is not admitted, or is suspended"


class NoLiveProtocol(Refused):
    """No information-sharing protocol in force joins the two agencies."""

    code = "no_live_protocol"
    sentence = "no information-sharing protocol in force joins the two agencies"


class EntryStale(Refused):
    """The directory does not vouch for this service."""

    code = "entry_stale"
    sentence = "the directory has no active, recently confirmed entry for this service"


class ConsentDoesNotCover(Refused):
    """Her consent does not reach this far."""

    code = "consent_does_not_cover"
    sentence = "her consent does not cover this recipient, purpose or step, or has ended"
