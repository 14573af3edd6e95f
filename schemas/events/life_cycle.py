"""The life cycle of a referral as tables: what follows what, who may ask, and what else decides.

The arbiter decides by them; sectors read them to say what an agency may ask next.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

PartyName = Literal["owner", "receiver"]


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
    NOT_PROVIDED = "not_provided"
    UNABLE_TO_REACH = "unable_to_reach"
    REDIRECTED = "redirected"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"
    CLOSED_UNMET = "closed_unmet"
    SEALED = "sealed"


class Verb(StrEnum):
    """What may be asked of a referral; the clock alone asks to expire."""

    OFFER = "offer"
    ACKNOWLEDGE = "acknowledge"
    ACCEPT = "accept"
    DECLINE = "decline"
    START = "start"
    PROVIDE = "provide"
    NOT_PROVIDE = "not_provide"
    UNABLE_TO_REACH = "unable_to_reach"
    GIVE_FEEDBACK = "give_feedback"
    REDIRECT = "redirect"
    REOFFER = "reoffer"
    CLOSE = "close"
    CLOSE_UNMET = "close_unmet"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    CONFIRM_SEALED = "confirm_sealed"
    NARROW_CONSENT = "narrow_consent"
    CONFIRM_NARROWED = "confirm_narrowed"
    ORDER_ERASURE = "order_erasure"
    CONFIRM_ERASED = "confirm_erased"
    REPORT_BREAK_GLASS = "report_break_glass"
    EXPIRE = "expire"


AWAITING_ANSWER: Final = frozenset({State.OFFERED, State.ACKNOWLEDGED})
UNHELPED: Final = frozenset({State.DECLINED, State.EXPIRED, State.NOT_PROVIDED, State.UNABLE_TO_REACH})
"""Nobody helps her here: the owner finds a successor, or says which need stays unmet."""
ENDED: Final = frozenset({State.CANCELLED, State.CLOSED, State.CLOSED_UNMET, State.REDIRECTED})
TERMINAL: Final = ENDED | {State.WITHDRAWN, State.SEALED}
LIVE: Final = frozenset(State) - TERMINAL
ANSWERS: Final = frozenset({Verb.ACKNOWLEDGE, Verb.ACCEPT, Verb.DECLINE})
NEVER_LATE: Final = frozenset({Verb.WITHDRAW, Verb.CANCEL, Verb.ORDER_ERASURE, Verb.REPORT_BREAK_GLASS})
"""Steps that win over a deadline that has passed unseen, and that nobody is late with."""
STOPS: Final = frozenset({Verb.WITHDRAW, Verb.ORDER_ERASURE})
"""Steps that are kept where they overtake the step that creates their referral."""

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
    (State.ACCEPTED, Verb.NOT_PROVIDE): State.NOT_PROVIDED,
    (State.ACCEPTED, Verb.UNABLE_TO_REACH): State.UNABLE_TO_REACH,
    (State.ACCEPTED, Verb.CANCEL): State.CANCELLED,
    (State.IN_SERVICE, Verb.PROVIDE): State.PROVIDED,
    (State.IN_SERVICE, Verb.NOT_PROVIDE): State.NOT_PROVIDED,
    (State.IN_SERVICE, Verb.UNABLE_TO_REACH): State.UNABLE_TO_REACH,
    (State.PROVIDED, Verb.GIVE_FEEDBACK): State.FEEDBACK_GIVEN,
    (State.PROVIDED, Verb.CLOSE): State.CLOSED,
    (State.FEEDBACK_GIVEN, Verb.CLOSE): State.CLOSED,
    (State.NOT_PROVIDED, Verb.REOFFER): State.OFFERED,
    (State.UNABLE_TO_REACH, Verb.REOFFER): State.OFFERED,
    **{(state, Verb.REDIRECT): State.REDIRECTED for state in State if state in UNHELPED},
    **{(state, Verb.CLOSE_UNMET): State.CLOSED_UNMET for state in State if state in UNHELPED},
    **{(state, Verb.CONFIRM_SEALED): State.SEALED for state in State if state in ENDED | {State.WITHDRAWN}},
    **{(state, Verb.CONFIRM_ERASED): State.SEALED for state in State if state in TERMINAL},
    # After an end, she only brings the sealing forward; here and below nothing else moves.
    **{(state, stop): State.WITHDRAWN if state in LIVE else state
       for stop in (Verb.WITHDRAW, Verb.ORDER_ERASURE) for state in State
       if stop is Verb.ORDER_ERASURE or state in LIVE | ENDED},
    **{(state, Verb.NARROW_CONSENT): state for state in State if state in LIVE},
    **{(state, Verb.REPORT_BREAK_GLASS): state for state in State},  # it happened, whatever came after it
    **{(state, Verb.CONFIRM_NARROWED): state for state in State if state in LIVE | ENDED},
}  # fmt: skip
"""State (None before the offer) and step → state; what is not here is refused."""

ASKER: Final[Mapping[Verb, PartyName]] = {
    Verb.OFFER: "owner",
    Verb.ACKNOWLEDGE: "receiver",
    Verb.ACCEPT: "receiver",
    Verb.DECLINE: "receiver",
    Verb.START: "receiver",
    Verb.PROVIDE: "receiver",
    Verb.NOT_PROVIDE: "receiver",
    Verb.UNABLE_TO_REACH: "receiver",
    Verb.GIVE_FEEDBACK: "receiver",
    Verb.REDIRECT: "owner",
    Verb.REOFFER: "owner",
    Verb.CLOSE: "owner",
    Verb.CLOSE_UNMET: "owner",
    Verb.CANCEL: "owner",
    Verb.WITHDRAW: "owner",
    Verb.CONFIRM_SEALED: "receiver",
    Verb.NARROW_CONSENT: "owner",
    Verb.CONFIRM_NARROWED: "receiver",
    Verb.ORDER_ERASURE: "owner",
    Verb.CONFIRM_ERASED: "receiver",
    Verb.REPORT_BREAK_GLASS: "owner",
}
"""Step → the one party that may ask it."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What besides its state decides what may be asked of a referral."""

    state: str | None
    feedback_allowed: bool
    is_feedback_late: bool
    is_withdrawn: bool
    is_narrowed: bool
    """Groups are to be sealed, and the receiver has not confirmed it yet."""
    is_erased: bool
    """Her case is being erased, and the receiver has not confirmed it yet."""


CONDITIONS: Final[Mapping[Verb, Callable[[Circumstances], bool]]] = {
    Verb.GIVE_FEEDBACK: lambda now: now.feedback_allowed,
    Verb.CLOSE: lambda now: now.state != State.PROVIDED or not now.feedback_allowed or now.is_feedback_late,
    Verb.WITHDRAW: lambda now: not now.is_withdrawn,
    Verb.CONFIRM_NARROWED: lambda now: now.is_narrowed,
    Verb.ORDER_ERASURE: lambda now: not now.is_erased,
    Verb.CONFIRM_ERASED: lambda now: now.is_erased,
}
"""Step → what must hold besides, where the state alone does not decide."""


def is_open(verb: Verb, now: Circumstances) -> bool:
    """Whether what besides the state decides lets a step through."""
    return verb not in CONDITIONS or CONDITIONS[verb](now)


def allowed_steps(role: PartyName, now: Circumstances) -> list[str]:
    """What a party may ask of a referral as it stands; before the arbiter's answer, to withdraw alone."""
    if now.state is None:
        return [Verb.WITHDRAW.value] if role == "owner" else []
    return [
        verb.value
        for (state, verb) in NEXT
        if state == now.state and ASKER.get(verb) == role and is_open(verb, now)
    ]
