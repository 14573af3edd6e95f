"""Who has which role at the console."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from services.operations.domain.roles import OperatorRole
from services.operations.handlers import Grant, Grants
from services.runtime import operator_acts
from services.runtime.consoles.sessions import SessionStore
from services.runtime.transaction import Transaction

NAMED_MAX: Final = 5
"""How many administrators somebody without a role is told of."""
_ONE_GRANTS: Final = "SELECT pg_advisory_xact_lock(hashtext('operator_grant'))"
_ALL: Final = "SELECT person, role, granted_at FROM operator_grant ORDER BY person"
_ROLE_OF: Final = "SELECT role FROM operator_grant WHERE person = :person"
_ADMINISTRATORS: Final = f"""
SELECT person FROM operator_grant WHERE role = 'administrator'
ORDER BY granted_at LIMIT {NAMED_MAX}"""  # noqa: S608  a constant
_PUT: Final = """
INSERT INTO operator_grant (person, role) VALUES (:person, :role)
ON CONFLICT (person) DO UPDATE SET role = :role, granted_at = clock_timestamp()"""
_TAKE: Final = "DELETE FROM operator_grant WHERE person = :person"


class GrantStore(Grants):
    """The grants of one transaction; each is kept with the record of it, which the trail is told."""

    def __init__(self, transaction: Transaction, now: datetime) -> None:
        self._transaction = transaction
        self._sessions = SessionStore(transaction, now)

    async def locked(self) -> Mapping[str, OperatorRole]:
        """All of them; until the commit nobody else grants or revokes."""
        await self._transaction.run(_ONE_GRANTS)
        return {grant.person: grant.role for grant in await self.all()}

    async def all(self) -> Sequence[Grant]:
        """All of them, by pseudonym."""
        rows = await self._transaction.rows(_ALL)
        return [Grant(person=row.person, role=row.role, granted_at=row.granted_at) for row in rows]

    async def role_of(self, person: str) -> OperatorRole | None:
        """A person's role."""
        rows = await self._transaction.rows(_ROLE_OF, person=person)
        return rows[0].role if rows else None

    async def administrators(self) -> Sequence[str]:
        """Those who have granted for longest."""
        return [row.person for row in await self._transaction.rows(_ADMINISTRATORS)]

    async def put(self, person: str, role: OperatorRole, reason: str) -> None:
        """Give a person this role in the place of any other."""
        await self._transaction.run(_PUT, person=person, role=role)
        await operator_acts.record(self._transaction, "operator_grant", {role: 1}, reason=reason)

    async def take(self, person: str, reason: str) -> None:
        """Take a person's role, and end their sessions with it."""
        await self._transaction.run(_TAKE, person=person)
        await self._sessions.end_all(person)
        await operator_acts.record(self._transaction, "operator_revoke", {"persons": 1}, reason=reason)
