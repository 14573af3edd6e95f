"""A sector is a value: what tells the profiles apart stands in a table, and the engine reads nothing else."""

from collections.abc import Mapping
from typing import Final

import pytest
from pydantic import ValidationError

from schemas.events.codes import DECLINE_REASONS
from schemas.events.referral import DeclineReferral
from schemas.topics import SECTORS
from services.civil_society.profile import PROFILE as CIVIL_SOCIETY
from services.education.profile import PROFILE as EDUCATION
from services.health.profile import PROFILE as HEALTH
from services.police.profile import PROFILE as POLICE
from services.sector.domain.bodies import body_of
from services.sector.domain.profile import Profile
from services.social_services.profile import PROFILE as SOCIAL_SERVICES

WRITTEN: Final = (HEALTH, POLICE, SOCIAL_SERVICES, EDUCATION, CIVIL_SOCIETY)
NEVER_A_REASON: Final[Mapping[Profile, set[str]]] = {
    HEALTH: {"age_not_served"},
    POLICE: {"age_not_served", "language_not_served"},
    SOCIAL_SERVICES: {"outside_mandate"},
    EDUCATION: {"language_not_served"},
    CIVIL_SOCIETY: set(),
}
"""For which of the arbiter's reasons a sector may not turn her away."""


def test_every_sector_of_the_contract_has_a_profile_and_every_profile_its_topic_line() -> None:
    assert {profile.name for profile in WRITTEN} == set(SECTORS)


@pytest.mark.parametrize("profile", WRITTEN, ids=lambda profile: profile.name)
def test_a_sector_takes_its_own_decline_reasons(profile: Profile) -> None:
    body = body_of(DeclineReferral, profile.decline_reasons)

    for reason in profile.decline_reasons:
        body.model_validate({"duty": "desk", "reason": reason})
    for reason in NEVER_A_REASON[profile]:
        with pytest.raises(ValidationError, match=f"one of {', '.join(sorted(profile.decline_reasons))}"):
            body.model_validate({"duty": "desk", "reason": reason})
    assert profile.decline_reasons == DECLINE_REASONS - NEVER_A_REASON[profile]
