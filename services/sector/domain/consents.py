"""Whether her consent covers an offer; pure, and asked once more by the arbiter."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.events.consent import ConsentProof, ConsentVersion
from services.sector.domain.bodies import OfferRequest
from services.sector.domain.refusals import ConsentDoesNotCover

CONSENTS_PER_CASE_MAX: Final = 100
"""How many versions a case may have: its page shows them all."""


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A consent version of a case; `is_signed`: the signature over it was checked and holds.

    `is_closed`: she took it back, or a newer version rules.
    """

    case: str
    version: ConsentVersion
    is_signed: bool
    is_closed: bool


def check_covers(
    consent: ConsentRecord | None, offer: OfferRequest, agency: str, *, at: datetime
) -> ConsentProof:
    """Give the part of her consent that the agency's offer shows the arbiter, or refuse."""
    if consent is None or not _covers(consent, offer, agency, at):
        raise ConsentDoesNotCover
    scope = consent.version.scope
    return ConsentProof(
        version=consent.version.version,
        recipient=offer.recipient,
        groups=offer.groups,
        purpose=offer.purpose,
        expires_at=scope.expires_at,
        feedback=scope.feedback,
        form_hash=consent.version.form_hash,
    )


def form_hash(form_version: str, language: str) -> str:
    """Proof of the form that she was read, without the form."""
    return hashlib.sha256(f"{form_version}\n{language}".encode()).hexdigest()


def _covers(consent: ConsentRecord, offer: OfferRequest, agency: str, at: datetime) -> bool:
    scope = consent.version.scope
    return (
        (consent.case, consent.version.agency) == (offer.case, agency)
        and (consent.is_signed and not consent.is_closed and at < scope.expires_at)
        and (offer.recipient in scope.recipients and offer.purpose in scope.purposes)
        and set(offer.groups) <= set(scope.groups)
    )
