"""Break-glass (`xbtg/1`): somebody of another agency agrees that she is in danger and has not been asked.

The approver's own sector service signs it; it opens contact and protection of one referral, for four hours.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.events.access import Token
from schemas.ids import AgencyId, ReferralId
from schemas.wire.body import Code, Instant, listed
from schemas.wire.signed import SignatureWrong, SignedObject, check_signature

VALID_FOR: Final = timedelta(hours=4)
CLOCKS_APART_MAX: Final = timedelta(seconds=5)
"""How far two sectors' clocks may differ."""
DANGERS: Final = ("threat_to_life", "abduction", "forced_marriage", "child_at_risk")
DangerCode = Annotated[Code, listed(DANGERS)]
DangerGroups = Annotated[tuple[Literal["contact", "protection"], ...], Field(min_length=1, max_length=2)]
APPROVAL_FAULTS: Final[Mapping[str, str]] = {
    "approval_unsigned": "The approval is not signed by the service of the approver's sector.",
    "approval_differs": "The approval is for another referral, agency or group.",
    "approval_own_agency": "The approver must belong to another agency than the one that asks.",
    "approval_not_valid_now": "The approval's four hours are over, or have not begun; ask for a new one.",
}
"""What can be wrong with an approval at the moment of its use: code → sentence."""


class BadApproval(Exception):
    """This approval lets nobody pull this now, by a code of APPROVAL_FAULTS."""

    def __init__(self, code: str) -> None:
        super().__init__(APPROVAL_FAULTS[code])
        self.code = code


class BreakGlassApproval(SignedObject):
    """Who may pull which groups of which referral without her consent, who agreed to it, why and when."""

    v: Literal["xbtg/1"] = "xbtg/1"
    referral: ReferralId
    requester: AgencyId
    approver: AgencyId
    approved_by: Annotated[Token, Field(repr=False)]
    """The approver's pseudonym for its person."""
    groups: DangerGroups
    reason: DangerCode
    approved_at: Instant


def check_approval(
    approval: BreakGlassApproval,
    public: bytes,
    *,
    referral: str,
    requester: str,
    groups: Collection[str],
    at: datetime,
) -> None:
    """Refuse an approval that is not for this pull now; `public` is the key of the approver's sector service.

    Whether the approver is an active agency of that sector is looked up by whoever calls this.
    """
    if approval.approver == approval.requester:
        raise BadApproval("approval_own_agency")
    if (approval.referral, approval.requester) != (referral, requester) or not set(groups) <= {
        *approval.groups
    }:
        raise BadApproval("approval_differs")
    if not approval.approved_at - CLOCKS_APART_MAX <= at < approval.approved_at + VALID_FOR:
        raise BadApproval("approval_not_valid_now")
    try:
        check_signature(approval, public)
    except SignatureWrong:
        raise BadApproval("approval_unsigned") from None
