"""What operations does on its store: roles are granted and revoked."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from services.operations.domain.roles import NoSuchOperator, OperatorRole, check_grant


class Grant(BaseModel):
    """A person's role at the console, by pseudonym."""

    model_config = ConfigDict(frozen=True)

    person: str
    role: OperatorRole
    granted_at: datetime


class Grants(Protocol):
    """The grants of one transaction; what is put or taken is durable once that commits."""

    async def locked(self) -> Mapping[str, OperatorRole]:
        """All of them; until the commit nobody else grants or revokes."""

    async def all(self) -> Sequence[Grant]:
        """All of them."""

    async def put(self, person: str, role: OperatorRole, reason: str) -> None:
        """Give a person this role in the place of any other."""

    async def take(self, person: str, reason: str) -> None:
        """Take a person's role, and end their sessions with it."""


async def grant(person: str, role: OperatorRole, reason: str, grants: Grants) -> None:
    """Give a person a role; raises Refused."""
    check_grant(person, await grants.locked())
    await grants.put(person, role, reason)


async def revoke(person: str, reason: str, grants: Grants) -> None:
    """Take a person's role; raises NoSuchOperator."""
    if person not in await grants.locked():
        raise NoSuchOperator
    await grants.take(person, reason)
