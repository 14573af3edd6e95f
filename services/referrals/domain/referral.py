"""One referral as a value, what comes of a step or of the clock, and what the clock does by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Optional

from schemas.events import facts as contract
from schemas.events.governance import ProtocolDocument, Urgency
from schemas.events.life_cycle import Circumstances, PartyName, State, Verb
from services.referrals.domain.life_cycle import CLOCKS, Breach, after

Facts = tuple[contract.FactBase, ...]
NOBODY: Final = ""
"""The receiver of a referral that was withdrawn before the step that creates it came."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A clock that runs: since when, until when, and how often its end was told already."""

    since_at: datetime
    by_at: datetime
    times: int = 0

    @property
    def due_at(self) -> datetime:
        """When there is something to tell next: at the end, and then after twice the time of before."""
        return self.since_at + (self.by_at - self.since_at) * int(2**self.times)

    def told(self, at: datetime) -> "Deadline":
        """The same once its end was told; what an arbiter at rest has missed is told once."""
        later = replace(self, times=self.times + 1)
        return later if later.due_at > at else later.told(at)


@dataclass(frozen=True, slots=True)
class Referral:
    """A hop between two agencies, as the arbiter knows it: codes and times, never a case."""

    id: str
    owner: str
    owner_desk: str
    receiver: str
    receiver_desk: str
    service: str
    state: State
    urgency: Urgency
    feedback_allowed: bool
    protocol: str
    """Hash of the protocol in force when it was offered; it governs whatever follows."""
    groups: tuple[str, ...] = ()
    """What the receiver may pull; never more than before without a newer version of her consent."""
    consent_version: int = 1
    hop: int = 1
    """Its place in a chain of referrals that replace each other."""
    attempt: int = 1
    """How often it was offered to this receiver."""
    seal_by_at: datetime | None = None
    """Set once she has withdrawn, or her case is being erased."""
    deadlines: Mapping[str, Deadline] = field(default_factory=dict)
    """The clocks that run, by their names in `CLOCKS`."""
    version: int = 1

    def moved_by(self, verb: Verb, document: ProtocolDocument, *, at: datetime) -> "Referral":
        """The referral one move on, with the clocks of its new state; raises what `after` raises."""
        state = after(self.state, verb)
        moved = replace(self, state=state, version=self.version + 1)
        return moved if state is self.state else moved.with_clocks(document, at=at)

    def with_clocks(self, document: ProtocolDocument, *, at: datetime) -> "Referral":
        """The referral with the clocks of its state: those that run go on, the others start or end."""
        lasting = {"erase"} if self.state is State.SEALED else {"erase", "narrow"}
        running = {
            name: self.deadlines.get(name) or deadline(document, clock.length, self.urgency, at=at)
            for name, clock in CLOCKS.items()
            if self.state in clock.runs_in or (name in lasting and name in self.deadlines)
        }
        return replace(self, deadlines=running)

    def with_clock(self, name: str, document: ProtocolDocument, *, at: datetime) -> "Referral":
        """The referral with one clock started, whether or not it runs already."""
        started = deadline(document, CLOCKS[name].length, self.urgency, at=at)
        return replace(self, deadlines={**self.deadlines, name: started})

    def without_clock(self, name: str) -> "Referral":
        """The referral without a clock."""
        left = {other: running for other, running in self.deadlines.items() if other != name}
        return replace(self, deadlines=left)

    def circumstances(self, at: datetime) -> Circumstances:
        """What besides its state decides what may be asked."""
        feedback = self.deadlines.get("feedback")
        return Circumstances(
            state=self.state,
            feedback_allowed=self.feedback_allowed,
            is_feedback_late=feedback is not None and feedback.by_at <= at,
            is_withdrawn=self.seal_by_at is not None,
            is_narrowed="narrow" in self.deadlines,
            is_erased="erase" in self.deadlines,
        )

    @property
    def parties(self) -> tuple[str, ...]:
        """The agencies that are told: the owner first, and the receiver if there is one."""
        return (self.owner, self.receiver) if self.receiver else (self.owner,)

    def party(self, agency: str) -> PartyName | None:
        """Which party an agency is, if any."""
        if agency == self.owner:
            return "owner"
        return "receiver" if agency == self.receiver else None

    def awaits(self) -> tuple[str | None, str | None]:
        """Agency and desk that must act next, if any."""
        match contract.awaited(self.state, feedback_allowed=self.feedback_allowed):
            case "owner":
                return self.owner, self.owner_desk
            case "receiver" if self.receiver:
                return self.receiver, self.receiver_desk
        return None, None

    @property
    def due_at(self) -> datetime | None:
        """When the clock has something to do next, if ever."""
        return min((running.due_at for running in self.deadlines.values()), default=None)


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
    successor: Optional["Outcome"] = None
    """What came of the same step for another referral: the one that replaces this one."""


Move = tuple[Referral, Facts]


def due(referral: Referral, document: ProtocolDocument, *, at: datetime) -> Outcome | None:
    """What the clock does to a referral at that moment, if anything; a move comes before a reminder."""
    late = [name for name, running in referral.deadlines.items() if running.due_at <= at]
    late.sort(key=lambda name: (CLOCKS[name].breach not in _MOVES, referral.deadlines[name].due_at))
    if not late:
        return None
    moved, facts = _breach(late[0], referral, document, at=at)
    return Outcome(moved, facts, at)


def lapse(referral: Referral, document: ProtocolDocument, *, at: datetime) -> Move:
    """The referral as it is once the clock has moved it, although nobody has looked since."""
    for name, running in referral.deadlines.items():
        if CLOCKS[name].breach in _MOVES and running.due_at <= at:
            return _breach(name, referral, document, at=at)
    return referral, ()


def deadline(document: ProtocolDocument, length: str, urgency: Urgency, *, at: datetime) -> Deadline:
    """A clock started now, as long as the protocol says."""
    return Deadline(at, at + timedelta(seconds=document.timers[length][urgency]))


def about(referral: Referral) -> dict[str, Any]:
    """What every fact says of its referral."""
    return {"referral": referral.id, "state": referral.state, "protocol": referral.protocol or None}


_MOVES: Final[Mapping[Breach, Verb]] = {Breach.EXPIRE: Verb.EXPIRE, Breach.CLOSE: Verb.CLOSE}


def _breach(name: str, referral: Referral, document: ProtocolDocument, *, at: datetime) -> Move:
    clock = CLOCKS[name]
    if verb := _MOVES.get(clock.breach):
        moved = referral.moved_by(verb, document, at=at)
        if verb is Verb.EXPIRE:
            return moved, (contract.ReferralExpired(**about(moved), timer=clock.length, met="missed"),)
        return moved, (contract.ReferralClosed(**about(moved), reason="silence", met="missed"),)
    told = {**referral.deadlines, name: referral.deadlines[name].told(at)}
    moved = replace(referral, deadlines=told, version=referral.version + 1)
    kind = contract.DeskReminded if clock.breach is Breach.REMIND else contract.SealOverdue
    return moved, (kind(**about(moved), timer=clock.length),)
