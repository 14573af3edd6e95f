"""Twins of the arbiter's Protocols in memory, for tests of handlers."""

from collections.abc import Collection, Sequence
from datetime import datetime

from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.events.referral import FactBase
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Outcome, Referral


class MemoryReferrals:
    """Referrals in a dictionary, and every outcome that was saved."""

    def __init__(self, *referrals: Referral) -> None:
        self.kept = {referral.id: referral for referral in referrals}
        self.outcomes: list[Outcome] = []

    @property
    def facts(self) -> list[FactBase]:
        """Facts and refusals in the order in which they were saved."""
        told = [(*one.facts, *([one.refusal.fact] if one.refusal else [])) for one in self.outcomes]
        return [fact for facts in told for fact in facts]

    async def load(self, ids: Collection[str]) -> dict[str, Referral | None]:
        """A value or None for each id asked for."""
        return {referral: self.kept.get(referral) for referral in ids}

    async def due(self, at: datetime, most: int) -> list[Referral]:
        """Referrals with something due."""
        return [one for one in self.kept.values() if one.due_at and one.due_at <= at][:most]

    async def save(self, outcomes: Sequence[Outcome], in_force: InForce) -> None:
        """Keep what changed, and the facts."""
        self.outcomes += outcomes
        self.kept |= {one.referral.id: one.referral for one in outcomes if one.referral}


class MemorySurroundings:
    """One fixed set of surroundings; what is to be kept is only remembered."""

    def __init__(self, in_force: InForce) -> None:
        self._in_force = in_force
        self.agencies: list[AgencyCurrent] = []
        self.protocols: list[ProtocolCurrent] = []

    async def in_force(
        self, agencies: Collection[str], services: Collection[str], protocols: Collection[str]
    ) -> InForce:
        """All there is."""
        return self._in_force

    async def keep_agencies(self, agencies: Sequence[AgencyCurrent]) -> None:
        """Remember them."""
        self.agencies += agencies

    async def keep_protocols(self, protocols: Sequence[ProtocolCurrent]) -> None:
        """Remember them."""
        self.protocols += protocols
