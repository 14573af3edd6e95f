"""What the arbiter does with the life cycle: which state follows, and which clock runs in it.

What follows what, and who may ask, stands in `schemas.events.life_cycle`, which sectors read too; who must
act next in `schemas.events.referral.AWAITS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from schemas.events.governance import Timer
from schemas.events.life_cycle import ANSWERS, AWAITING_ANSWER, ENDED, NEXT, State, Verb
from services.referrals.domain.refusals import TooLate, Withdrawn, WrongState


class Breach(Enum):
    """What the clock does when nobody acted in time."""

    REMIND = "remind"
    """Say so to both parties, and again after twice the time: never silence, never a flood."""
    REPORT_COPY = "report_copy"
    """The same about a copy that should be sealed; auditors list the holder."""
    EXPIRE = "expire"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class StateClock:
    """A clock of the life cycle: where it runs, and what comes at its end."""

    runs_in: frozenset[State]
    breach: Breach
    length: Timer
    """Which of the protocol's timers says how long."""


CLOCKS: Final[Mapping[str, StateClock]] = {
    "acknowledge": StateClock(frozenset({State.OFFERED}), Breach.REMIND, "acknowledge"),
    "answer": StateClock(AWAITING_ANSWER, Breach.EXPIRE, "answer"),
    "start": StateClock(frozenset({State.ACCEPTED}), Breach.REMIND, "start"),
    "review": StateClock(frozenset({State.IN_SERVICE}), Breach.REMIND, "review"),
    "feedback": StateClock(frozenset({State.PROVIDED}), Breach.REMIND, "feedback"),
    "silence": StateClock(frozenset({State.FEEDBACK_GIVEN}), Breach.CLOSE, "silence"),
    "next_step": StateClock(frozenset({State.DECLINED, State.EXPIRED}), Breach.REMIND, "next_step"),
    "next_attempt": StateClock(
        frozenset({State.NOT_PROVIDED, State.UNABLE_TO_REACH}), Breach.REMIND, "next_attempt"
    ),
    "seal": StateClock(frozenset({State.WITHDRAWN}), Breach.REPORT_COPY, "seal"),
    "seal_after_end": StateClock(ENDED, Breach.REPORT_COPY, "seal_after_end"),
    # These two run beside the state: a step starts each, and its confirmation ends it.
    "narrow": StateClock(frozenset(), Breach.REPORT_COPY, "seal"),
    "erase": StateClock(frozenset(), Breach.REPORT_COPY, "seal"),
}
"""Every clock: it starts in a state in which it runs, and ends with the first one in which it does not.

Each runs on the party that the state awaits. Of several that end at once the last one here is the one told.
"""


def after(state: State | None, verb: Verb) -> State:
    """Say which state follows, or refuse."""
    following = NEXT.get((state, verb))
    if following is not None:
        return following
    if state is State.WITHDRAWN:
        raise Withdrawn
    if state is State.EXPIRED and verb in ANSWERS:
        raise TooLate
    raise WrongState


def diagram() -> str:
    """The moves as a state diagram in Mermaid, without steps that leave a referral where it is."""
    moving = {(state, verb): following for (state, verb), following in NEXT.items() if state != following}
    moves = [f"    {state or '[*]'} --> {following}: {verb}" for (state, verb), following in moving.items()]
    ends = [f"    {state} --> [*]" for state in State if all(state is not left for left, _ in moving)]
    return "\n".join(["stateDiagram-v2", *moves, *ends])
