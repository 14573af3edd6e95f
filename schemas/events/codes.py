"""The code lists of referrals, and the types of the fields that carry them."""

from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.events.consent import PURPOSES, FieldGroup
from schemas.wire.body import Code, listed

Area = Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z0-9]{0,8}$")]
"""A p-code, no finer than the second administrative level."""
AgeBand = Literal["child", "adolescent", "young_adult", "adult", "older"]
AppointmentWindow = Literal["today", "this_week", "this_month", "to_be_arranged"]
SealMethod = Literal["nothing_held", "key_destroyed", "deleted", "paper_destroyed"]
CountMark = Literal["first", "again", "none"]
"""Whether statistics count her with this referral; `none` without her consent to it, and for a probe."""
Punctuality = Literal["met", "missed"]
HOPS_MAX: Final = 5
"""How many referrals may replace each other, and how often one may be offered to the same receiver."""

NEEDS: Final = frozenset({
    "medical_care", "psychosocial_support", "safety_planning", "safe_shelter", "legal_aid",
    "police_protection", "child_protection", "school_support", "livelihood_support", "case_coordination",
})  # fmt: skip
ACCESS_NEEDS: Final = frozenset({
    "interpreter", "sign_language", "wheelchair", "transport", "female_staff", "child_care",
})  # fmt: skip
DECLINE_REASONS: Final = frozenset({
    "no_capacity", "outside_area", "outside_mandate", "age_not_served", "language_not_served",
    "conflict_of_interest",
})  # fmt: skip
CANCEL_REASONS: Final = frozenset({"no_longer_needed", "made_in_error", "found_elsewhere"})
CLOSE_REASONS: Final = frozenset({
    "needs_met", "survivor_asked", "contact_lost", "moved_away", "other", "silence",
})  # fmt: skip
NOT_PROVIDED_REASONS: Final = frozenset({
    "no_capacity", "not_eligible", "did_not_come", "survivor_asked", "service_ended",
})  # fmt: skip
REOFFER_REASONS: Final = frozenset({"capacity_again", "reachable_again", "survivor_asked"})
UNMET_NEEDS: Final = frozenset({
    "no_service_in_area", "no_capacity", "not_accessible", "not_eligible", "not_affordable", "not_safe",
    "not_reached", "survivor_stopped",
})  # fmt: skip
OUTCOMES: Final = frozenset({"completed", "ongoing_elsewhere", "single_contact"})
FEEDBACK: Final = frozenset({"helped", "helped_in_part", "did_not_help", "prefers_not_to_say"})
REFUSALS: Final = frozenset({
    "not_a_party", "wrong_state", "too_late", "unknown_code", "no_live_protocol", "agency_inactive",
    "consent_does_not_cover", "withdrawn", "entry_stale", "hop_limit", "packet_grew",
})  # fmt: skip

RefusalCode = Annotated[Code, listed(REFUSALS)]
NeedCode = Annotated[Code, listed(NEEDS)]
AccessNeed = Annotated[Code, listed(ACCESS_NEEDS)]
DeclineReason = Annotated[Code, listed(DECLINE_REASONS)]
CancelReason = Annotated[Code, listed(CANCEL_REASONS)]
CloseReason = Annotated[Code, listed(CLOSE_REASONS)]
NotProvidedReason = Annotated[Code, listed(NOT_PROVIDED_REASONS)]
ReofferReason = Annotated[Code, listed(REOFFER_REASONS)]
UnmetNeed = Annotated[Code, listed(UNMET_NEEDS)]
Outcome = Annotated[Code, listed(OUTCOMES)]
FeedbackCode = Annotated[Code, listed(FEEDBACK)]
PurposeCode = Annotated[Code, listed(PURPOSES)]

Needs = Annotated[tuple[NeedCode, ...], Field(min_length=1, max_length=8)]
AccessNeeds = Annotated[tuple[AccessNeed, ...], Field(max_length=8)]
Groups = Annotated[tuple[FieldGroup, ...], Field(min_length=1, max_length=6)]
