"""Civil society: shelters, counselling, women's organisations. They may decline for every reason."""

from typing import Final

from schemas.events.codes import DECLINE_REASONS
from services.sector.domain.profile import Profile

PROFILE: Final = Profile(
    name="civil_society",
    calls_itself="Civil society",
    purposes=frozenset({"care", "protection", "shelter"}),
    decline_reasons=DECLINE_REASONS,
)
