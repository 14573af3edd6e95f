"""One referral as a value, what comes of a step or of the clock, and what the clock does by itself."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from schemas.events import referral as contract
from schemas.events.governance import Urgency
from services.referrals.domain.life_cycle import AWAITING_ANSWER, State, Verb, after

Facts = tuple[contract.FactBase, ...]


@dataclass(frozen=True, slots=True)
class Referral:
    """A hop between two agencies, as the arbiter knows it: codes and times, never a case."""

    id: str
    owner: str
    owner_desk: str
    receiver: str
    receiver_desk: str
    state: State
    urgency: Urgency
    feedback_allowed: bool
    protocol: str
    """Hash of the protocol in force when it was offered; it governs whatever follows."""
    acknowledge_by_at: datetime
    answer_by_at: datetime
    reminded: bool = False
    seal_by_at: datetime | None = None
    """Set once she has withdrawn."""
    version: int = 1

    def moved_by(self, verb: Verb) -> "Referral":
        """The referral one move on; raises what `after` raises."""
        return replace(self, state=after(self.state, verb), version=self.version + 1)

    def party(self, agency: str) -> contract.PartyName | None:
        """Which party an agency is, if any."""
        if agency == self.owner:
            return "owner"
        return "receiver" if agency == self.receiver else None

    def awaits(self) -> tuple[str | None, str | None]:
        """Agency and desk that must act next, if any."""
        match contract.awaited(self.state, feedback_allowed=self.feedback_allowed):
            case "owner":
                return self.owner, self.owner_desk
            case "receiver":
                return self.receiver, self.receiver_desk
        return None, None

    @property
    def due_at(self) -> datetime | None:
        """When the clock has something to do next, if ever."""
        if self.state not in AWAITING_ANSWER:
            return None
        if self.state is State.OFFERED and not self.reminded:
            return min(self.acknowledge_by_at, self.answer_by_at)
        return self.answer_by_at


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused step and where to say so: to the asker alone, in the inbox of the sector it came from."""

    fact: contract.StepRefused
    agency: str
    sector: str
    is_numbered: bool
    """False where the agency is another sector's: that agency's own numbers stay without gap."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step or of the clock: the referral as it is now, the facts, perhaps a refusal."""

    referral: Referral | None
    facts: Facts
    at: datetime
    caused_by: str | None = None
    refusal: Refusal | None = None


Move = tuple[Referral, Facts]


def expire(referral: Referral) -> Move:
    """Nobody answered in time."""
    moved = referral.moved_by(Verb.EXPIRE)
    return moved, (contract.ReferralExpired(**about(moved), timer="answer"),)


def remind(referral: Referral) -> Move:
    """The receiver has not looked yet; the referral stays where it is."""
    moved = replace(referral, reminded=True, version=referral.version + 1)
    return moved, (contract.DeskReminded(**about(moved), timer="acknowledge"),)


def due(referral: Referral, *, at: datetime) -> Outcome | None:
    """What the clock does to a referral at that moment, if anything."""
    if referral.due_at is None or referral.due_at > at:
        return None
    moved, facts = expire(referral) if referral.answer_by_at <= at else remind(referral)
    return Outcome(moved, facts, at)


def about(referral: Referral) -> dict[str, Any]:
    """What every fact says of its referral."""
    return {"referral": referral.id, "state": referral.state, "protocol": referral.protocol}
