"""What the doors take, and what is refused before anything is asked of the arbiter."""

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.referral import DeclineReferral, GiveFeedback, ProvideService
from services.sector.domain.bodies import CaseRequest, ConsentRequest, OfferRequest, RequestBody, body_of
from services.sector.domain.refusals import ConsentDoesNotCover
from services.sector.domain.requests import check_step
from services.sector.domain.views import ReferralView
from services.social_services.profile import PROFILE
from tests.support.builders import RECEIVER, REFERRAL, an_id
from tests.support.scenes import CONSENT, SCOPE, an_offer_asked

CASE, CNS = an_id("case"), an_id("consent")
DECLINE = body_of(DeclineReferral, PROFILE.decline_reasons)
PROVIDE = body_of(ProvideService, PROFILE.decline_reasons)
DOORS: dict[str, tuple[type[RequestBody], dict[str, Any], str]] = {
    "need": (OfferRequest, an_offer_asked(CASE, CNS, needs=["zqxmark_need"]), "unknown_code"),
    "access": (OfferRequest, an_offer_asked(CASE, CNS, access_needs=["zqxmark_acc"]), "unknown_code"),
    "purpose": (OfferRequest, an_offer_asked(CASE, CNS, purpose="zqxmark"), "unknown_code"),
    "purposes": (ConsentRequest, CONSENT | {"scope": SCOPE | {"purposes": ["zqxmark"]}}, "unknown_code"),
    "another sector's reason": (DECLINE, {"duty": "desk", "reason": "outside_mandate"}, "unknown_code"),
    "outcome": (PROVIDE, {"duty": "desk", "outcome": "zqxmark"}, "unknown_code"),
    "needs twice": (OfferRequest, an_offer_asked(CASE, CNS, needs=["medical_care"] * 8), "repeated"),
    "groups twice": (OfferRequest, an_offer_asked(CASE, CNS, groups=["contact"] * 6), "repeated"),
    "recipients": (ConsentRequest, CONSENT | {"scope": SCOPE | {"recipients": [RECEIVER] * 20}}, "repeated"),
    **{
        f"reference {text!a}": (CaseRequest, {"reference": text}, "hidden_character")
        for text in ("\u202e abc", "\ufeff", "\u2028", " ", "\u00a0")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DOORS)
def test_the_door_takes_codes_of_its_lists_each_once_and_text_that_shows_itself(name: str) -> None:
    body, content, kind = DOORS[name]

    with pytest.raises(ValidationError) as refused:
        body.model_validate_json(json.dumps(content))

    [error] = refused.value.errors()
    assert error["type"] == kind
    assert "zqxmark" not in error["msg"]


def test_a_reference_may_be_written_in_any_script() -> None:
    for text in ("A-1", "é\u0301" * 50, "حالة ۷", "😀" * 100):
        assert CaseRequest(reference=text).reference == text


RECEIVED = ReferralView(
    REFERRAL, RECEIVER, "receiver", state="provided", number=4, offer={"feedback_allowed": False}
)


def test_feedback_that_her_consent_excludes_is_refused_at_the_receiver() -> None:
    check_step(GiveFeedback, replace(RECEIVED, offer={"feedback_allowed": True}), seen=None)

    with pytest.raises(ConsentDoesNotCover):
        check_step(GiveFeedback, RECEIVED, seen=None)
