"""Education: schools and their counsellors, for those whom a school serves."""

from typing import Final

from services.sector.domain.profile import Profile

PROFILE: Final = Profile(
    name="education",
    calls_itself="Education",
    purposes=frozenset({"protection", "schooling"}),
    decline_reasons=frozenset(
        {"no_capacity", "outside_area", "outside_mandate", "age_not_served", "conflict_of_interest"}
    ),
)
