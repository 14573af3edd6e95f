"""Every cell of what an operator's role may do, written down a second time."""

from typing import get_args

import pytest

from services.operations.domain.roles import (
    COMMAND,
    GRANTS_MAX,
    ROLES,
    Operator,
    OperatorDeed,
    OperatorRole,
    PseudonymReserved,
    TooManyGrants,
    check_grant,
)
from services.operations.grants_api import Revocation, RoleRequest

TABLE = """
            look resume redrive discard reset refill grant revoke
viewer        x    -      -       -      -     -      -     -
operator      x    x      -       -      -     -      -     -
redriver      x    x      x       x      x     x      -     -
administrator x    x      x       x      x     x      x     x
"""
DEEDS, *LINES = (line.split() for line in TABLE.strip().splitlines())
CELLS = [(role, deed, cell == "x") for role, *cells in LINES for deed, cell in zip(DEEDS, cells, strict=True)]


@pytest.mark.parametrize(("role", "deed", "allowed"), CELLS)
def test_a_role_may_do_what_its_cell_says(role: OperatorRole, deed: OperatorDeed, *, allowed: bool) -> None:
    assert Operator("p-1", role).may(deed) == allowed


def test_the_table_is_whole() -> None:
    assert {(role, deed) for role, deed, _ in CELLS} == {
        (role, deed) for role in get_args(OperatorRole) for deed in get_args(OperatorDeed)
    }
    assert ROLES.keys() == {*get_args(OperatorRole)}
    assert not Operator("p-1", "administrator").may("read_payload")


def test_a_role_is_for_people_and_for_so_many() -> None:
    known: dict[str, OperatorRole] = {f"p-{number}": "viewer" for number in range(GRANTS_MAX)}

    with pytest.raises(PseudonymReserved):
        check_grant(COMMAND, {})
    with pytest.raises(TooManyGrants):
        check_grant("p-new", known)
    check_grant("p-1", known)


@pytest.mark.parametrize("wrong", [{"role": "root"}, {"reason": ""}, {"reason": "a\nb"}, {"more": 1}])
def test_a_grant_says_role_and_reason_in_a_line(wrong: dict[str, object]) -> None:
    good = {"role": "viewer", "reason": "on call"}
    assert RoleRequest.model_validate(good)
    assert Revocation.model_validate({"reason": "left"})

    with pytest.raises(ValueError, match="validation error"):
        RoleRequest.model_validate(good | wrong)
