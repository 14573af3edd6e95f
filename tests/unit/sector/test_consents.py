"""An offer rests on a consent version that belongs to its case and covers all that it asks for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.consent import ConsentScope, ConsentVersion
from services.sector.domain.bodies import OfferRequest
from services.sector.domain.consents import ConsentRecord, check_covers, form_hash
from services.sector.domain.refusals import ConsentDoesNotCover
from tests.support.builders import OWNER, RECEIVER, STRANGER, an_id
from tests.support.clock import NOON
from tests.support.scenes import an_offer_asked

CASE = an_id("case", "hers")
SCOPE = ConsentScope(
    recipients=(RECEIVER, STRANGER),
    groups=("contact", "clinical"),
    purposes=("care", "protection"),
    expires_at=NOON + timedelta(days=1),
    feedback=True,
)
WANTED = OfferRequest.model_validate(an_offer_asked(CASE, an_id("consent", 1)))


def wanting(**changes: Any) -> OfferRequest:
    return WANTED.model_copy(update=changes)


def a_version(**changes: Any) -> ConsentRecord:
    version = ConsentVersion(
        id=an_id("consent", 1),
        version=1,
        keyset=an_id("keyset", "hers"),
        scope=SCOPE,
        form_hash=form_hash("f-1", "sw"),
        language="sw",
        agency=OWNER,
        recorded_at=NOON,
    )
    return replace(ConsentRecord(CASE, version, b"", is_signed=True, is_closed=False), **changes)


def test_a_covering_consent_shows_the_arbiter_one_recipient_and_only_what_is_asked_for() -> None:
    proof = check_covers(a_version(), WANTED, OWNER, at=NOON)

    assert proof.model_dump() == {
        "version": 1,
        "recipient": RECEIVER,
        "groups": ("clinical",),
        "purpose": "care",
        "expires_at": NOON + timedelta(days=1),
        "feedback": True,
        "form_hash": form_hash("f-1", "sw"),
    }


def test_an_offer_may_ask_for_no_groups_at_all() -> None:
    assert check_covers(a_version(), wanting(groups=()), OWNER, at=NOON).groups == ()


REFUSED: dict[str, tuple[ConsentRecord | None, OfferRequest]] = {
    "unknown": (None, WANTED),
    "of another case": (a_version(case=an_id("case", "another")), WANTED),
    "not signed by this service": (a_version(is_signed=False), WANTED),
    "taken back": (a_version(is_closed=True), WANTED),
    "for other recipients": (a_version(), wanting(recipient="harbour-school")),
    "for fewer groups": (a_version(), wanting(groups=("clinical", "legal"))),
    "for other purposes": (a_version(), wanting(purpose="investigation")),
}


@pytest.mark.parametrize(("consent", "wanted"), REFUSED.values(), ids=REFUSED)
def test_a_consent_that_does_not_cover_is_refused(
    consent: ConsentRecord | None, wanted: OfferRequest
) -> None:
    with pytest.raises(ConsentDoesNotCover):
        check_covers(consent, wanted, OWNER, at=NOON)


def test_a_consent_covers_no_offer_of_another_agency() -> None:
    with pytest.raises(ConsentDoesNotCover):
        check_covers(a_version(), WANTED, STRANGER, at=NOON)


@pytest.mark.parametrize(
    ("after", "is_live"), [(timedelta(hours=24), False), (timedelta(hours=23, minutes=59), True)]
)
def test_a_consent_ends_at_its_very_instant(after: timedelta, is_live: bool) -> None:
    if is_live:
        check_covers(a_version(), WANTED, OWNER, at=NOON + after)
    else:
        with pytest.raises(ConsentDoesNotCover):
            check_covers(a_version(), WANTED, OWNER, at=NOON + after)


def test_the_proof_of_a_form_depends_on_version_and_language() -> None:
    # printf 'f-1\nsw' | sha256sum
    assert form_hash("f-1", "sw") == "68d0a2dec6dcb7c46b8902f3c8338dd31b24822005329d1653ad4d2a7f6d4659"
    assert form_hash("f-1", "sw") != form_hash("f-1", "en") != form_hash("f-2", "en")


BAD_FIELDS: dict[str, tuple[dict[str, list[str]], str]] = {
    "a recipient that is not hers": ({"harbour-school": ["contact.phone"]}, "not_a_recipient"),
    "a group that she did not agree to": ({RECEIVER: ["legal.wish"]}, "group_not_consented"),
    "a field twice": ({RECEIVER: ["contact.phone", "contact.phone"]}, "repeated"),
    "no group of ours": ({RECEIVER: ["diary.page"]}, "string_pattern_mismatch"),
    "none": ({RECEIVER: []}, "too_short"),
}


@pytest.mark.parametrize(("fields", "code"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_a_single_field_is_named_once_for_a_recipient_and_a_group_of_hers(
    fields: dict[str, list[str]], code: str
) -> None:
    scope = SCOPE.model_dump(mode="json")
    ConsentScope.model_validate(scope | {"fields": {RECEIVER: ["contact.phone", "clinical.injuries"]}})

    with pytest.raises(ValidationError) as refused:
        ConsentScope.model_validate(scope | {"fields": fields})

    assert code in [error["type"] for error in refused.value.errors()]


def test_each_word_of_a_consent_changes_what_is_signed() -> None:
    signed = a_version().version.signed_bytes()
    changes: dict[str, Any] = {
        "id": an_id("consent", 2), "version": 2, "keyset": an_id("keyset", "another"), "agency": STRANGER,
        "form_hash": "0" * 64, "language": "en", "recorded_at": NOON + timedelta(seconds=1),
    }  # fmt: skip
    scopes: dict[str, Any] = {
        "recipients": (RECEIVER,), "groups": ("contact",), "purposes": ("care",), "statistics": True,
        "fields": {RECEIVER: ("contact.phone",)}, "expires_at": NOON, "feedback": False,
    }  # fmt: skip
    assert signed.startswith(b"concert/consent/v2\n{")
    assert {*changes, "scope", "v"} == {*ConsentVersion.model_fields}
    assert {*scopes} == {*ConsentScope.model_fields}

    others = [a_version().version.model_copy(update={name: new}) for name, new in changes.items()]
    others += [
        others[0].model_copy(
            update={"id": an_id("consent", 1), "scope": SCOPE.model_copy(update={name: new})}
        )
        for name, new in scopes.items()
    ]

    assert len({signed, *(one.signed_bytes() for one in others)}) == 1 + len(others)
