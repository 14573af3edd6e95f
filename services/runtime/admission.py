"""Who may ask at an agencies' port, and for what: the person by her role, the agency by its admission."""

from dataclasses import dataclass
from typing import Final

from schemas.roles import ROLES, Act
from services.runtime.errors import Refused


class UnknownRole(Refused):
    """A token whose role stands in no table."""

    code = "unknown_role"
    sentence = f"There is no such role; the token's role must be one of {', '.join(sorted(ROLES))}."
    status = 403


class RoleForbids(Refused):
    """A known role that may do other things than this."""

    code = "role_forbids"
    sentence = "The token's role may not do this; ask somebody whose role may, such as a caseworker."
    status = 403


class AgencyNotAdmitted(Refused):
    """The token's agency is none that governance has named here."""

    code = "agency_not_admitted"
    sentence = "Your agency is not admitted, or only just now; ask governance, or try again shortly."
    status = 403


class WrongSector(Refused):
    """The token's agency is another sector's."""

    code = "wrong_sector"
    sentence = "Your agency belongs to another sector; use your own sector's service."
    status = 403


class AgencyInactive(Refused):
    """Governance has suspended the agency; what protects her stays open to it."""

    code = "agency_inactive"
    sentence = "Your agency is suspended; it can still withdraw, cancel and confirm a seal. Ask governance."
    status = 403


NO_ENTRY: Final = (UnknownRole, RoleForbids, AgencyNotAdmitted, WrongSector, AgencyInactive)
"""What an agencies' port can answer before it looks at what is asked."""


@dataclass(frozen=True, slots=True)
class AgencyStanding:
    """What governance says of an agency."""

    sector: str
    is_active: bool


def check_role(role: str, act: Act) -> None:
    """Refuse a role that no table knows, and one that may not do this."""
    if role not in ROLES:
        raise UnknownRole
    if act not in ROLES[role]:
        raise RoleForbids


def check_admission(
    admission: AgencyStanding | None, *, sector: str | None, though_suspended: bool = False
) -> None:
    """Refuse an agency that was not heard of, one of another sector, and one that is suspended."""
    if admission is None:
        raise AgencyNotAdmitted
    if sector not in (None, admission.sector):
        raise WrongSector
    if not (admission.is_active or though_suspended):
        raise AgencyInactive
