"""The life cycle of a referral as tables: what follows what, and who may ask.

Who must act next stands in `schemas.events.referral.AWAITS`, which sectors read too.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from schemas.events.referral import PartyName
from services.referrals.domain.refusals import TooLate, Withdrawn, WrongState


class State(StrEnum):
    """Where a referral stands."""

    OFFERED = "offered"
    ACKNOWLEDGED = "acknowledged"
    ACCEPTED = "accepted"
    IN_SERVICE = "in_service"
    PROVIDED = "provided"
    FEEDBACK_GIVEN = "feedback_given"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"
    SEALED = "sealed"


class Verb(StrEnum):
    """What may be asked of a referral; the clock alone asks to expire."""

    OFFER = "offer"
    ACKNOWLEDGE = "acknowledge"
    ACCEPT = "accept"
    DECLINE = "decline"
    START = "start"
    PROVIDE = "provide"
    GIVE_FEEDBACK = "give_feedback"
    CLOSE = "close"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    CONFIRM_SEALED = "confirm_sealed"
    EXPIRE = "expire"


AWAITING_ANSWER: Final = frozenset({State.OFFERED, State.ACKNOWLEDGED})
TERMINAL: Final = frozenset({State.CANCELLED, State.WITHDRAWN, State.CLOSED, State.SEALED})
ANSWERS: Final = frozenset({Verb.ACKNOWLEDGE, Verb.ACCEPT, Verb.DECLINE})
NEVER_LATE: Final = frozenset({Verb.WITHDRAW, Verb.CANCEL})
"""Steps that win over a deadline that has passed unseen."""

NEXT: Final[Mapping[tuple[State | None, Verb], State]] = {
    (None, Verb.OFFER): State.OFFERED,
    (State.OFFERED, Verb.ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.OFFERED, Verb.ACCEPT): State.ACCEPTED,
    (State.OFFERED, Verb.DECLINE): State.DECLINED,
    (State.OFFERED, Verb.CANCEL): State.CANCELLED,
    (State.OFFERED, Verb.EXPIRE): State.EXPIRED,
    (State.ACKNOWLEDGED, Verb.ACCEPT): State.ACCEPTED,
    (State.ACKNOWLEDGED, Verb.DECLINE): State.DECLINED,
    (State.ACKNOWLEDGED, Verb.CANCEL): State.CANCELLED,
    (State.ACKNOWLEDGED, Verb.EXPIRE): State.EXPIRED,
    (State.ACCEPTED, Verb.START): State.IN_SERVICE,
    (State.ACCEPTED, Verb.CANCEL): State.CANCELLED,
    (State.IN_SERVICE, Verb.PROVIDE): State.PROVIDED,
    (State.PROVIDED, Verb.GIVE_FEEDBACK): State.FEEDBACK_GIVEN,
    (State.PROVIDED, Verb.CLOSE): State.CLOSED,
    (State.FEEDBACK_GIVEN, Verb.CLOSE): State.CLOSED,
    (State.CANCELLED, Verb.CONFIRM_SEALED): State.SEALED,
    (State.WITHDRAWN, Verb.CONFIRM_SEALED): State.SEALED,
    (State.CLOSED, Verb.CONFIRM_SEALED): State.SEALED,
} | {(state, Verb.WITHDRAW): State.WITHDRAWN for state in State if state not in TERMINAL}
"""State (None before the offer) and step → state; what is not here is refused."""

ASKER: Final[Mapping[Verb, PartyName]] = {
    Verb.OFFER: "owner",
    Verb.ACKNOWLEDGE: "receiver",
    Verb.ACCEPT: "receiver",
    Verb.DECLINE: "receiver",
    Verb.START: "receiver",
    Verb.PROVIDE: "receiver",
    Verb.GIVE_FEEDBACK: "receiver",
    Verb.CLOSE: "owner",
    Verb.CANCEL: "owner",
    Verb.WITHDRAW: "owner",
    Verb.CONFIRM_SEALED: "receiver",
}
"""Step → the one party that may ask it."""


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
    """The table as a state diagram in Mermaid."""
    moves = [f"    {state or '[*]'} --> {following}: {verb}" for (state, verb), following in NEXT.items()]
    ends = [f"    {state} --> [*]" for state in State if all(state is not left for left, _ in NEXT)]
    return "\n".join(["stateDiagram-v2", *moves, *ends])
