"""What people of an agency may do, by the role in their token; a role that is not listed may do nothing."""

from collections.abc import Mapping
from typing import Final, Literal

Act = Literal["look", "listen", "ask", "arrange"]
"""See what concerns a person; hear thin events and the directory; send cases and steps; arrange desks."""

_WORK: Final[frozenset[Act]] = frozenset({"look", "listen", "ask"})

ROLES: Final[Mapping[str, frozenset[Act]]] = {
    "caseworker": _WORK | {"arrange"},
    "supervisor": _WORK | {"arrange"},
    "intake": _WORK,
    "nurse": _WORK,
    "doctor": _WORK,
    "counsellor": _WORK,
    "officer": _WORK,
    "lawyer": _WORK,
    "teacher": _WORK,
    "coordinator": frozenset({"listen", "arrange"}),
    "system": frozenset({"listen"}),  # a job without a person behind it, which waits for events
}
