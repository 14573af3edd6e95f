"""What people of an agency may do: role × purpose × act, cut down to the purposes that their sector serves.

A role that is not listed may do nothing. Acts of `WITHOUT_PURPOSE` show nothing of a person or protect her.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple, get_args

Act = Literal["look", "listen", "ask", "arrange", "pull", "withdraw", "erase", "break_glass", "approve"]
"""See what concerns a person; hear thin events and the directory; send cases and steps; arrange desks; pull
packets; take consent back for her; erase a case; ask for, and approve, a pull in imminent danger."""
ACTS: Final[tuple[Act, ...]] = get_args(Act)
WITHOUT_PURPOSE: Final[frozenset[Act]] = frozenset(
    {"listen", "ask", "arrange", "withdraw", "erase", "approve"}
)


class RoleRow(NamedTuple):
    """What a role may do, and for which purposes."""

    acts: frozenset[Act]
    purposes: frozenset[str] = frozenset()


_INTAKE: Final[frozenset[Act]] = frozenset({"look", "listen", "ask", "withdraw"})
_WORK: Final[frozenset[Act]] = _INTAKE | {"pull"}
_URGENT: Final[frozenset[Act]] = _WORK | {"break_glass"}
_CASE: Final[frozenset[Act]] = _URGENT | {"arrange", "erase"}
_EVERY: Final = frozenset({"care", "protection", "investigation", "legal_aid", "schooling", "shelter"})

ROLES: Final[Mapping[str, RoleRow]] = {
    "caseworker": RoleRow(_CASE, _EVERY),
    "supervisor": RoleRow(_CASE | {"approve"}, _EVERY),
    "intake": RoleRow(_INTAKE, _EVERY),
    "nurse": RoleRow(_URGENT, frozenset({"care", "protection"})),
    "doctor": RoleRow(_URGENT, frozenset({"care", "protection"})),
    "counsellor": RoleRow(_URGENT, frozenset({"care", "protection", "shelter"})),
    "officer": RoleRow(_URGENT, frozenset({"protection", "investigation"})),
    "lawyer": RoleRow(_WORK, frozenset({"legal_aid", "protection"})),
    "teacher": RoleRow(_WORK, frozenset({"schooling", "protection"})),
    "coordinator": RoleRow(frozenset({"listen", "arrange"})),
    "system": RoleRow(frozenset({"listen"})),  # a job without a person behind it, which waits for events
}

GOVERNANCE_ROLES: Final = ("secretary", "seat", "approver", "monitor")
"""Roles at governance's port alone, where no survivor's case is known; no other service knows them."""


def may(role: str, act: Act, purpose: str | None, served: Collection[str]) -> bool:
    """Whether a role may do this for that purpose, in a sector that serves these purposes."""
    row = ROLES.get(role)
    if row is None or act not in row.acts:
        return False
    return act in WITHOUT_PURPOSE or (purpose in row.purposes and purpose in served)
