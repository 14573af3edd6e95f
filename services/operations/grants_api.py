"""Who may come to the console, for the operator's command."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict

from services.operations.domain.roles import OperatorRole
from services.operations.handlers import Grant, Grants, grant, revoke
from services.runtime.acts import Reason
from services.runtime.tokens import Pseudonym

Person = Annotated[Pseudonym, Path()]
OpenGrants = Callable[[], AbstractAsyncContextManager[Grants]]


class Revocation(BaseModel):
    """Why somebody's role is taken."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Reason


class RoleRequest(Revocation):
    """Which role somebody gets, and why."""

    role: OperatorRole


class GrantList(BaseModel):
    """Everybody who has a role; a list of this length needs no cursor."""

    data: Sequence[Grant]
    next: None = None


def grant_routes(open_grants: OpenGrants) -> APIRouter:
    """List, grant, revoke."""
    router = APIRouter(prefix="/v1/operators")

    @router.get("")
    async def list_operators() -> GrantList:
        """Everybody who has a role."""
        async with open_grants() as grants:
            return GrantList(data=await grants.all())

    @router.put("/{person}")
    async def grant_role(person: Person, asked: RoleRequest) -> GrantList:
        """Give a person a role, in the place of any other."""
        async with open_grants() as grants:
            await grant(person, asked.role, asked.reason, grants)
            return GrantList(data=await grants.all())

    @router.post("/{person}/revocation")
    async def revoke_role(person: Person, why: Revocation) -> GrantList:
        """Take a person's role; whoever is signed in is out at once."""
        async with open_grants() as grants:
            await revoke(person, why.reason, grants)
            return GrantList(data=await grants.all())

    return router
