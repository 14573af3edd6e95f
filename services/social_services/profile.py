"""Social services: accountable for cases by default, so no case is outside their mandate."""

from typing import Final

from services.sector.domain.profile import Profile

PROFILE: Final = Profile(
    name="social_services",
    calls_itself="Social services",
    purposes=frozenset({"care", "legal_aid", "protection", "schooling", "shelter"}),
    decline_reasons=frozenset(
        {"no_capacity", "outside_area", "age_not_served", "language_not_served", "conflict_of_interest"}
    ),
)
