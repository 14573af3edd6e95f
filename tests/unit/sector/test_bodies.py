"""What the doors take, and what is refused before anything is asked of the arbiter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.referral import DeclineReferral, GiveFeedback, ProvideService
from services.sector.domain.bodies import (
    ApprovalRequest,
    CaseRequest,
    ConsentRequest,
    OfferRequest,
    PullRequest,
    RequestBody,
    body_of,
)
from services.sector.domain.directory import ServiceSearch
from services.sector.domain.refusals import ConsentDoesNotCover
from services.sector.domain.requests import check_step
from services.sector.domain.views import ReferralView
from services.social_services.profile import PROFILE
from tests.support.builders import RECEIVER, REFERRAL, an_id
from tests.support.scenes import CONSENT, SCOPE, an_offer_asked

CASE, CNS = an_id("case"), an_id("consent")
DECLINE = body_of(DeclineReferral, PROFILE.decline_reasons)
PROVIDE = body_of(ProvideService, PROFILE.decline_reasons)
SEARCH = {"need": "medical_care", "area": "KE047"}
PULL = {"purpose": "care", "groups": ["clinical"]}
APPROVAL = {"referral": REFERRAL, "requester": RECEIVER, "groups": ["contact"], "reason": "threat_to_life"}


def an_offer(**changes: Any) -> tuple[type[RequestBody], dict[str, Any]]:
    return OfferRequest, an_offer_asked(CASE, CNS, **changes)


def a_consent(**scope: Any) -> tuple[type[RequestBody], dict[str, Any]]:
    return ConsentRequest, CONSENT | {"scope": SCOPE | scope}


def on_version(version: Any) -> tuple[type[RequestBody], dict[str, Any]]:
    return an_offer(consent={"id": CNS, "version": version})


DOORS: Mapping[str, Sequence[tuple[type[RequestBody], dict[str, Any]]]] = {
    "unknown_code": [
        an_offer(needs=["zqxmark_need"]),
        an_offer(access_needs=["zqxmark_acc"]),
        an_offer(purpose="zqxmark"),
        a_consent(purposes=["zqxmark"]),
        (DECLINE, {"duty": "desk", "reason": "outside_mandate"}),  # another sector's
        (PROVIDE, {"duty": "desk", "outcome": "zqxmark"}),
        (PullRequest, PULL | {"purpose": "zqxmark"}),
        (ApprovalRequest, APPROVAL | {"reason": "zqxmark"}),
        (ServiceSearch, SEARCH | {"need": "zqxmark"}),
        (ServiceSearch, SEARCH | {"access_needs": ["zqxmark"]}),
        (ServiceSearch, SEARCH | {"sector": "zqxmark"}),
    ],
    "repeated": [
        an_offer(needs=["medical_care"] * 8),
        an_offer(groups=["contact"] * 6),
        a_consent(recipients=[RECEIVER] * 20),
        (PullRequest, PULL | {"groups": ["clinical"] * 2}),
        (ServiceSearch, SEARCH | {"access_needs": ["transport"] * 2}),
    ],
    "hidden_character": [
        (CaseRequest, {"reference": text}) for text in ("\u202e abc", "\ufeff", "\u2028", " ", "\u00a0")
    ],
    "string_pattern_mismatch": [
        an_offer(area="HB01-12 zqxmark Road"),
        *((CaseRequest, {"reference": text}) for text in ("", "k" * 101, "a\tb", "a\nb")),
        (ServiceSearch, SEARCH | {"area": "the zqxmark"}),
        (ServiceSearch, SEARCH | {"language": "zqxmark"}),
    ],
    "extra_forbidden": [an_offer(name="zqxmark"), (ServiceSearch, SEARCH | {"case": "zqxmark"})],
    "bool_type": [an_offer(weapons="true"), (ServiceSearch, SEARCH | {"no_help": "yes"})],
    "string_type": [(CaseRequest, {"reference": none}) for none in (7, None)],
    "too_short": [an_offer(needs=[]), (PullRequest, PULL | {"groups": []})],
    "int_type": [on_version("1")],
    "less_than_equal": [on_version(version) for version in (2**31, 2**53, 10**30)],
    "greater_than_equal": [on_version(version) for version in (0, -1)],
    "value_error": [a_consent(expires_at=when) for when in (1_900_000_000, "2026-04-01T00:00:00", "soon")],
    "literal_error": [
        an_offer(groups=["zqxmark"]),
        (PullRequest, PULL | {"groups": ["clinical", "zqxmark"]}),
        (ApprovalRequest, APPROVAL | {"groups": ["contact", "clinical"]}),
    ],
}  # fmt: skip
"""What is wrong → bodies of which one field is."""


@pytest.mark.parametrize("kind", DOORS)
def test_the_door_refuses_each_wrong_field_by_its_kind_and_echoes_nothing(kind: str) -> None:
    for body, content in DOORS[kind]:
        with pytest.raises(ValidationError) as refused:
            body.model_validate_json(json.dumps(content))

        [error] = refused.value.errors()
        assert error["type"] == kind, content
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
