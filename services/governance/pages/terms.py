"""What people call the codes that the page shows."""

from collections.abc import Iterable
from typing import Final

from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import Term

TERMS: Final = {
    # whom a partner speaks for
    "un": _("United Nations"),
    "government": _("Government"),
    "donor": _("Donors"),
    "civil_society": _("Civil society"),
    "womens_movement": _("Women’s movements"),
    "affected_group": _("Groups concerned"),
    "academia": _("Academia"),
    "oversight": _("Oversight bodies"),
    "sector_agency": _("Agencies that answer referrals"),
    # where
    "global": _("Global"),
    "regional": _("Regional"),
    "national": _("National"),
    "district": _("District"),
    "local": _("Local"),
    "community": _("Community"),
    # committees, mandates, recommendations
    "steering": _("Steering"),
    "coordination": _("Coordination"),
    "constituted": _("Constituted"),
    "incomplete": _("Incomplete: decides nothing"),
    "live": _("In force"),
    "expired": _("Expired"),
    "admission": _("Committees and mandates"),
    "protocol": _("Sharing protocols"),
    "code_list": _("Lists of codes"),
    "work_plan": _("Work plans"),
    "recommendation": _("Recommendations"),
    "release": _("Releases of figures"),
    "adopted": _("Adopted"),
    "rejected": _("Rejected"),
    "routed_up": _("Passed up"),
    "agreed": _("Agreed"),
    "assigned": _("Assigned"),
    "progressed": _("Under way"),
    "implemented": _("Implemented"),
    "verified": _("Verified"),
    "stalled": _("Stalled"),
    "rule": _("A rule"),
    "budget": _("A budget"),
    "service": _("A service"),
    "nothing": _("None of these"),
    # the phases of the programming cycle
    "assessment": _("Assessment"),
    "analysis": _("Analysis"),
    "planning": _("Planning"),
    "implementation": _("Implementation"),
    "monitoring": _("Monitoring"),
    "evaluation": _("Evaluation"),
    # groups that face several forms of discrimination at once
    "women_with_disabilities": _("Women with disabilities"),
    "displaced_women": _("Displaced women"),
    "rural_women": _("Rural women"),
    "indigenous_women": _("Indigenous women"),
    "young_women": _("Young women"),
    "older_women": _("Older women"),
    "women_living_with_hiv": _("Women living with HIV"),
    "lesbian_bisexual_trans_women": _("Lesbian, bisexual and trans women"),
    "women_in_poverty": _("Women in poverty"),
    # root causes
    "harmful_norms": _("Harmful norms"),
    "unequal_law": _("Unequal law"),
    "weak_institutions": _("Weak institutions"),
    "economic_dependence": _("Economic dependence"),
    "lack_of_services": _("Lack of services"),
    "lack_of_data": _("Lack of data"),
    "impunity": _("Impunity"),
    # needs, and what somebody needs to reach a service
    "medical_care": _("Medical care"),
    "psychosocial_support": _("Psychosocial support"),
    "safety_planning": _("Safety planning"),
    "safe_shelter": _("Safe shelter"),
    "legal_aid": _("Legal aid"),
    "police_protection": _("Police protection"),
    "child_protection": _("Child protection"),
    "school_support": _("School support"),
    "livelihood_support": _("Livelihood support"),
    "case_coordination": _("Case coordination"),
    "interpreter": _("Interpreter"),
    "sign_language": _("Sign language"),
    "wheelchair": _("Wheelchair access"),
    "transport": _("Transport"),
    "female_staff": _("Female staff"),
    "child_care": _("Child care"),
    # what reference groups are asked about a service
    "safe": _("Safe"),
    "respectful": _("Respectful"),
    "confidential": _("Confidential"),
    "accessible": _("Accessible"),
    "timely": _("On time"),
    "explained": _("Choices explained"),
    "accountable": _("Accountable"),
    # what a figure cannot say
    "unknown": _("Not said"),
    "other": _("Other areas"),
}
"""Code → its words in English; no code means two things."""


def term(code: str, count: int | None = None) -> Term:
    """A code with its words; one that has none speaks for itself."""
    return Term(code, TERMS.get(code, code), count)


def terms(codes: Iterable[str]) -> tuple[Term, ...]:
    """Several codes with their words."""
    return tuple(term(one) for one in codes)
