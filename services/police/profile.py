"""Police: protection and investigation. Neither age nor language is a reason to turn her away."""

from typing import Final

from services.sector.domain.profile import Profile

PROFILE: Final = Profile(
    name="police",
    calls_itself="Police",
    purposes=frozenset({"investigation", "protection"}),
    decline_reasons=frozenset({"no_capacity", "outside_area", "outside_mandate", "conflict_of_interest"}),
)
