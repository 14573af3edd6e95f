"""Who may ask at an agencies' port, and for what: the person by their role, the agency by its admission."""

from dataclasses import dataclass

from schemas.roles import ROLES, Act
from services.runtime import refusals


@dataclass(frozen=True, slots=True)
class AgencyStanding:
    """What governance says of an agency."""

    sector: str
    is_active: bool


def check_role(role: str, act: Act) -> None:
    """Refuse a role that no table knows, and one that may not do this."""
    if role not in ROLES:
        raise refusals.UnknownRole
    if act not in ROLES[role].acts:
        raise refusals.RoleForbids


def check_admission(
    admission: AgencyStanding | None, *, sector: str | None, though_suspended: bool = False
) -> None:
    """Refuse an agency that was not heard of, one of another sector, and one that is suspended."""
    if admission is None:
        raise refusals.AgencyNotAdmitted
    if sector not in (None, admission.sector):
        raise refusals.WrongSector
    if not (admission.is_active or though_suspended):
        raise refusals.AgencyInactive
