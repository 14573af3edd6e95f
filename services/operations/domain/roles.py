"""What an operator may do: a table of roles and acts, and nothing else decides it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from services.runtime.errors import define_refusal

OperatorRole = Literal["viewer", "operator", "redriver", "administrator"]
OperatorDeed = Literal["look", "resume", "redrive", "discard", "reset", "refill", "grant", "revoke"]

ROLES: Final[Mapping[OperatorRole, frozenset[OperatorDeed]]] = {
    "viewer": frozenset({"look"}),
    "operator": frozenset({"look", "resume"}),
    "redriver": frozenset({"look", "resume", "redrive", "discard", "reset", "refill"}),
    "administrator": frozenset(
        {"look", "resume", "redrive", "discard", "reset", "refill", "grant", "revoke"}
    ),
}
"""Role → what whoever has it may do. No role shows what a letter says, for nothing here could open it."""

COMMAND: Final = "command"
"""How the holder of the operator's certificate is called; never a person's pseudonym."""
RESERVED: Final = frozenset({COMMAND, "operations", "operator"})
GRANTS_MAX: Final = 200

RoleLacksDeed: Final = define_refusal(
    __name__,
    "role_lacks_deed",
    "your role may not do this; an administrator can grant another: `concert operators grant PERSON ROLE`",
    403,
)
PseudonymReserved: Final = define_refusal(
    __name__,
    "pseudonym_reserved",
    "this word names a part of the installation; choose another pseudonym",
    422,
)
TooManyGrants: Final = define_refusal(
    __name__, "too_many_grants", f"{GRANTS_MAX} people have a role; revoke somebody's first", 409
)
NoSuchOperator: Final = define_refusal(
    __name__, "no_such_operator", "nobody of this pseudonym has a role; see `concert operators list`", 404
)


@dataclass(frozen=True, slots=True)
class Operator:
    """Who is at the console: a person by pseudonym, with one role."""

    pseudonym: str
    role: OperatorRole

    def may(self, deed: str) -> bool:
        """Whether the role may do this."""
        return deed in ROLES[self.role]


def check_grant(pseudonym: str, known: Mapping[str, OperatorRole]) -> None:
    """Refuse a role for what is no person, or for one person too many."""
    if pseudonym in RESERVED:
        raise PseudonymReserved
    if pseudonym not in known and len(known) >= GRANTS_MAX:
        raise TooManyGrants
