"""Who may do what for which purpose, in each sector: the whole table, cell by cell."""

from collections.abc import Iterator
from itertools import product

import pytest

from schemas.events.consent import PURPOSES
from schemas.roles import ACTS, ROLES, WITHOUT_PURPOSE, may
from services.civil_society.profile import PROFILE as CIVIL_SOCIETY
from services.education.profile import PROFILE as EDUCATION
from services.health.profile import PROFILE as HEALTH
from services.police.profile import PROFILE as POLICE
from services.sector.domain.profile import Profile
from services.social_services.profile import PROFILE as SOCIAL_SERVICES

LETTERS = {
    "look": "o", "listen": "l", "ask": "a", "arrange": "r", "pull": "p", "withdraw": "w", "erase": "e",
    "break_glass": "b", "approve": "v",
}  # fmt: skip
TABLE = """
caseworker   olarpweb   care protection investigation legal_aid schooling shelter
supervisor   olarpwebv  care protection investigation legal_aid schooling shelter
intake       olaw       care protection investigation legal_aid schooling shelter
nurse        olapwb     care protection
doctor       olapwb     care protection
counsellor   olapwb     care protection shelter
officer      olapwb     protection investigation
lawyer       olapw      legal_aid protection
teacher      olapw      schooling protection
coordinator  lr
system       l
cleaner
"""
SERVED = {
    SOCIAL_SERVICES: "care protection legal_aid schooling shelter",
    HEALTH: "care protection",
    POLICE: "protection investigation",
    EDUCATION: "schooling protection",
    CIVIL_SOCIETY: "care protection shelter",
}


def rows() -> Iterator[tuple[str, str, set[str]]]:
    for role, *rest in map(str.split, TABLE.strip().split("\n")):
        yield role, rest[0] if rest else "", set(rest[1:])


@pytest.mark.parametrize("profile", SERVED, ids=lambda profile: profile.name)
def test_each_role_may_do_each_act_for_each_purpose_as_the_table_says(profile: Profile) -> None:
    served = set(SERVED[profile].split())

    assert profile.purposes == served
    for (role, letters, purposes), act, purpose in product(rows(), ACTS, (*PURPOSES, "curiosity", None)):
        is_named = act in WITHOUT_PURPOSE or purpose in purposes & served
        assert may(role, act, purpose, profile.purposes) == (LETTERS[act] in letters and is_named)


def test_the_table_names_every_role_act_and_purpose() -> None:
    assert ROLES.keys() | {"cleaner"} == {role for role, *_ in rows()}
    assert LETTERS.keys() == set(ACTS)
    assert set(PURPOSES) == ROLES["caseworker"].purposes
    assert set(ACTS) - {"look", "pull", "break_glass"} == WITHOUT_PURPOSE
