"""An approval opens one referral for one agency, for four hours, by another agency's word."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from schemas.events.break_glass import APPROVAL_FAULTS, BadApproval, BreakGlassApproval, check_approval
from schemas.wire.signed import sign
from tests.support.builders import OWNER, RECEIVER, REFERRAL, STRANGER, an_id
from tests.support.clock import NOON

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
GOOD: dict[str, Any] = {
    "referral": REFERRAL, "requester": STRANGER, "approver": RECEIVER, "approved_by": "staff-9",
    "groups": ["contact", "protection"], "reason": "threat_to_life", "approved_at": NOON,
}  # fmt: skip
HOURS = timedelta(hours=4)


def check(approval: BreakGlassApproval, **changes: Any) -> None:
    asked: dict[str, Any] = {"referral": REFERRAL, "requester": STRANGER, "groups": ["contact"], "at": NOON}
    check_approval(approval, KEY.public_key().public_bytes_raw(), **asked | changes)


def an_approval(key: Ed25519PrivateKey = KEY, **changes: Any) -> BreakGlassApproval:
    return sign(BreakGlassApproval.model_validate(GOOD | changes), key)


SIGNED = an_approval()
WRONG: dict[str, tuple[BreakGlassApproval, dict[str, Any], str]] = {
    "another key": (an_approval(OTHER), {}, "approval_unsigned"),
    "no signature": (SIGNED.model_copy(update={"sig": None}), {}, "approval_unsigned"),
    "other words": (SIGNED.model_copy(update={"reason": "abduction"}), {}, "approval_unsigned"),
    "another referral": (SIGNED, {"referral": an_id("referral", "other")}, "approval_differs"),
    "another agency": (SIGNED, {"requester": OWNER}, "approval_differs"),
    "more groups": (
        an_approval(groups=["contact"]),
        {"groups": ["contact", "protection"]},
        "approval_differs",
    ),
    "a group that no danger opens": (SIGNED, {"groups": ["clinical"]}, "approval_differs"),
    "its own word": (an_approval(approver=STRANGER), {}, "approval_own_agency"),
    "after four hours": (SIGNED, {"at": NOON + HOURS}, "approval_not_valid_now"),
    "before it was given": (SIGNED, {"at": NOON - timedelta(seconds=6)}, "approval_not_valid_now"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_approval_for_anything_else_opens_nothing(case: str) -> None:
    approval, changes, code = WRONG[case]

    with pytest.raises(BadApproval) as refused:
        check(approval, **changes)

    assert refused.value.code == code
    assert {code for _, _, code in WRONG.values()} == APPROVAL_FAULTS.keys()


def test_an_approval_opens_what_it_names_until_its_time_is_over() -> None:
    for at in (NOON, NOON - timedelta(seconds=5), NOON + HOURS - timedelta(milliseconds=1)):
        check(SIGNED, at=at, groups=["protection", "contact"])
    assert "staff-9" not in repr(SIGNED)


@pytest.mark.parametrize(
    "changes", [{"groups": []}, {"groups": ["clinical"]}, {"planted": 1}, {"reason": "No!"}]
)
def test_what_is_no_approval_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BreakGlassApproval.model_validate(GOOD | changes)
