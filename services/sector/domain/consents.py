"""Whether her consent covers an offer; pure, and asked once more by the arbiter."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.events.consent import ConsentProof, ConsentScope, ConsentVersion, FieldGroup
from schemas.events.pulls import PacketPull
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
    signature: bytes
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


def covers_pull(consent: ConsentRecord, pull: PacketPull, case: str, *, at: datetime) -> bool:
    """Whether a version lets this recipient have these groups of the case for this purpose."""
    return consent.case == case and _allows(consent, pull.recipient, pull.purpose, pull.groups, at)


def lost_groups(
    before: ConsentScope, after: ConsentScope, recipient: str, purpose: str
) -> tuple[FieldGroup, ...]:
    """The groups of which a recipient may keep less under the newer scope: these it must seal."""
    still = recipient in after.recipients and purpose in after.purposes
    kept = set(after.groups) if still else set()
    fields = set(before.fields.get(recipient, ())) - set(after.fields.get(recipient, ()))
    kept -= {name.partition(".")[0] for name in fields}
    return tuple(group for group in before.groups if group not in kept)


def form_hash(form_version: str, language: str) -> str:
    """Proof of the form that she was read, without the form."""
    return hashlib.sha256(f"{form_version}\n{language}".encode()).hexdigest()


def _covers(consent: ConsentRecord, offer: OfferRequest, agency: str, at: datetime) -> bool:
    is_theirs = (consent.case, consent.version.agency) == (offer.case, agency)
    return is_theirs and _allows(consent, offer.recipient, offer.purpose, offer.groups, at)


def _allows(
    consent: ConsentRecord, recipient: str, purpose: str, groups: Collection[str], at: datetime
) -> bool:
    scope = consent.version.scope
    return (
        (consent.is_signed and not consent.is_closed and at < scope.expires_at)
        and (recipient in scope.recipients and purpose in scope.purposes)
        and set(groups) <= set(scope.groups)
    )
