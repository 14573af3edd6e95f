"""Health: clinics, hospitals, clinical management of rape. No age is turned away."""

from typing import Final

from services.sector.domain.profile import Profile

PROFILE: Final = Profile(
    name="health",
    calls_itself="Health services",
    purposes=frozenset({"care", "protection"}),
    decline_reasons=frozenset(
        {"no_capacity", "outside_area", "outside_mandate", "language_not_served", "conflict_of_interest"}
    ),
)
