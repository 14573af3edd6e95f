"""Whether her consent covers an offer; pure, and asked once more by the arbiter."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.events.consent import ConsentProof, ConsentVersion, FieldGroup
from services.sector.domain.refusals import ConsentDoesNotCover

CONSENTS_PER_CASE_MAX: Final = 100
"""How many versions a case may have: its page shows them all."""


@dataclass(frozen=True, slots=True)
class KeptConsent:
    """A consent version from the database; `is_signed`: the signature over it was checked and holds."""

    case: str
    version: ConsentVersion
    is_signed: bool
    is_withdrawn: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an offer wants her consent to cover."""

    case: str
    agency: str
    recipient: str
    groups: tuple[FieldGroup, ...]
    purpose: str


def form_hash(form_version: str, language: str) -> str:
    """Proof of the form that she was read, without the form."""
    return hashlib.sha256(f"{form_version}\n{language}".encode()).hexdigest()


def check_covers(consent: KeptConsent | None, wanted: Wanted, *, at: datetime) -> ConsentProof:
    """Give the part of her consent that the offer shows the arbiter, or refuse."""
    if consent is None or not _belongs(consent, wanted) or not _is_live(consent, at):
        raise ConsentDoesNotCover
    scope = consent.version.scope
    if wanted.recipient not in scope.recipients or wanted.purpose not in scope.purposes:
        raise ConsentDoesNotCover
    if not set(wanted.groups) <= set(scope.groups):
        raise ConsentDoesNotCover
    return ConsentProof(
        recipient=wanted.recipient,
        groups=wanted.groups,
        purpose=wanted.purpose,
        expires_at=scope.expires_at,
        feedback=scope.feedback,
        form_hash=consent.version.form_hash,
    )


def _belongs(consent: KeptConsent, wanted: Wanted) -> bool:
    return consent.case == wanted.case and consent.version.agency == wanted.agency


def _is_live(consent: KeptConsent, at: datetime) -> bool:
    return consent.is_signed and not consent.is_withdrawn and at < consent.version.scope.expires_at
