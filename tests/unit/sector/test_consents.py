"""An offer rests on a consent version that belongs to its case and covers all that it asks for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas.events.consent import ConsentScope, ConsentVersion
from services.sector.domain.consents import KeptConsent, Wanted, check_covers, form_hash
from services.sector.domain.refusals import ConsentDoesNotCover
from tests.support.builders import OWNER, RECEIVER, STRANGER, an_id
from tests.support.clock import NOON

CASE = an_id("case", "hers")
SCOPE = ConsentScope(
    recipients=(RECEIVER, STRANGER),
    groups=("contact", "clinical"),
    purposes=("care", "protection"),
    expires_at=NOON + timedelta(days=1),
    feedback=True,
)
WANTED = Wanted(CASE, OWNER, RECEIVER, ("clinical",), "care")


def a_version(**changes: Any) -> KeptConsent:
    version = ConsentVersion(
        id=an_id("consent", 1),
        version=1,
        scope=SCOPE,
        form_hash=form_hash("f-1", "sw"),
        language="sw",
        agency=OWNER,
        recorded_at=NOON,
    )
    return replace(KeptConsent(CASE, version, is_signed=True, is_withdrawn=False), **changes)


def test_a_covering_consent_shows_the_arbiter_one_recipient_and_only_what_is_asked_for() -> None:
    proof = check_covers(a_version(), WANTED, at=NOON)

    assert proof.model_dump() == {
        "recipient": RECEIVER,
        "groups": ("clinical",),
        "purpose": "care",
        "expires_at": NOON + timedelta(days=1),
        "feedback": True,
        "form_hash": form_hash("f-1", "sw"),
    }


def test_an_offer_may_ask_for_no_groups_at_all() -> None:
    assert check_covers(a_version(), replace(WANTED, groups=()), at=NOON).groups == ()


REFUSED: dict[str, tuple[KeptConsent | None, Wanted]] = {
    "unknown": (None, WANTED),
    "of another case": (a_version(case=an_id("case", "another")), WANTED),
    "of another agency": (a_version(), replace(WANTED, agency=STRANGER)),
    "not signed by this service": (a_version(is_signed=False), WANTED),
    "taken back": (a_version(is_withdrawn=True), WANTED),
    "for other recipients": (a_version(), replace(WANTED, recipient="harbour-school")),
    "for fewer groups": (a_version(), replace(WANTED, groups=("clinical", "legal"))),
    "for other purposes": (a_version(), replace(WANTED, purpose="investigation")),
}


@pytest.mark.parametrize(("consent", "wanted"), REFUSED.values(), ids=REFUSED)
def test_a_consent_that_does_not_cover_is_refused(consent: KeptConsent | None, wanted: Wanted) -> None:
    with pytest.raises(ConsentDoesNotCover):
        check_covers(consent, wanted, at=NOON)


@pytest.mark.parametrize(
    ("after", "is_live"), [(timedelta(hours=24), False), (timedelta(hours=23, minutes=59), True)]
)
def test_a_consent_ends_at_its_very_instant(after: timedelta, is_live: bool) -> None:
    if is_live:
        check_covers(a_version(), WANTED, at=NOON + after)
    else:
        with pytest.raises(ConsentDoesNotCover):
            check_covers(a_version(), WANTED, at=NOON + after)


def test_the_proof_of_a_form_depends_on_version_and_language() -> None:
    # printf 'f-1\nsw' | sha256sum
    assert form_hash("f-1", "sw") == "68d0a2dec6dcb7c46b8902f3c8338dd31b24822005329d1653ad4d2a7f6d4659"
    assert form_hash("f-1", "sw") != form_hash("f-1", "en") != form_hash("f-2", "en")
