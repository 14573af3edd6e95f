"""Every refusal of a sector service, by name; the codes never change."""

from collections.abc import Collection

from schemas.events.consent import PURPOSES
from services.runtime.errors import Refused


class NotFound(Refused):
    """Unknown, or not the asker's: the answer is the same, so that nobody learns which."""

    code = "not_found"
    sentence = "nothing of that id is known to your agency"
    status = 404


class ConsentDoesNotCover(Refused):
    """Her consent does not cover what was asked."""

    code = "consent_does_not_cover"
    sentence = (
        "Her consent does not cover this, has ended, or was taken back; ask her, and record her answer."
    )
    status = 403


class TooManyConsents(Refused):
    """A case that has as many consents as its page can show."""

    code = "too_many_consents"
    sentence = "This case has a hundred consents; open a new case for what she agrees to from now on."
    status = 409


class RecipientNotAdmitted(Refused):
    """Consent to an agency that nobody knows: it would cover whoever takes that id one day."""

    code = "recipient_not_admitted"
    sentence = "Each recipient must be an admitted agency; GET /v1/services names them."
    status = 422


class PurposeMissing(Refused):
    """A look at a person's referral without saying what for."""

    code = "purpose_missing"
    sentence = "Say what you look for: send the header Concert-Purpose with one of the purpose codes."
    status = 400


class PurposeUnknown(Refused):
    """A purpose that governance does not list."""

    code = "purpose_unknown"
    sentence = f"Send the header Concert-Purpose with one of {', '.join(sorted(PURPOSES))}."
    status = 422


class IdempotencyKeyMissing(Refused):
    """A POST that could not be repeated safely."""

    code = "idempotency_key_missing"
    sentence = "Send the header Idempotency-Key, 1 to 255 visible characters, new for each new request."
    status = 400


class IdempotencyMismatch(Refused):
    """A key that was used for another request."""

    code = "idempotency_mismatch"
    sentence = "This Idempotency-Key was used for another request; take a new key for a new request."
    status = 422


class IfMatchMissing(Refused):
    """A step without the number of the last fact that its sender has seen."""

    code = "if_match_missing"
    sentence = 'Send the header If-Match with the number of the last fact you have seen, such as "3".'
    status = 428


class TagMalformed(Refused):
    """An If-Match or If-None-Match that holds no entity tag."""

    code = "tag_malformed"
    sentence = 'Send the ETag as you got it, in double quotes, such as "3"; or several with commas; or *.'
    status = 400


class StaleView(Refused):
    """A step decided on an old view of the referral."""

    code = "stale_view"
    sentence = "The referral has moved on since you looked; read it again, then decide."
    status = 412


class CursorUnreadable(Refused):
    """An `after` that this service did not give."""

    code = "cursor_unreadable"
    sentence = "Send `after` exactly as the last answer's `next` gave it, or leave it out."
    status = 422


class TooManyWaiting(Refused):
    """More waiting requests of one agency than there are places."""

    code = "too_many_waiting"
    sentence = "Sixteen requests of your agency wait for events already; end one, or ask without `wait`."
    status = 429


class RecipientIsOwner(Refused):
    """An offer to the agency that makes it."""

    code = "recipient_is_owner"
    sentence = "A referral goes to another agency; name another one as recipient."
    status = 422


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
